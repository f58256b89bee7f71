import { type ReactNode, useState } from "react";
import { applyTheme, readTheme, THEMES, type Theme } from "./theme.ts";

const TITLES: Readonly<Record<Theme, string>> = { system: "Auto", light: "Light", dark: "Dark" };

/** Chooses the color scheme. */
export function ThemeSwitch(): ReactNode {
  const [theme, setTheme] = useState(readTheme);
  const choose = (chosen: Theme) => {
    applyTheme(chosen);
    setTheme(chosen);
  };
  return (
    <fieldset className="segments">
      <legend className="visually-hidden">Color scheme</legend>
      {THEMES.map((choice) => (
        <label key={choice}>
          <input type="radio" name="theme" checked={choice === theme} onChange={() => choose(choice)} />
          <span>{TITLES[choice]}</span>
        </label>
      ))}
    </fieldset>
  );
}
