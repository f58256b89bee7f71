import { type ReactNode, Suspense, useEffect, useRef } from "react";
import { Empty } from "../ui/empty.tsx";
import { FaultBoundary } from "../ui/fault-boundary.tsx";
import { hrefOf, parseRoute } from "./address.ts";
import { Logo } from "./logo.tsx";
import { useHash } from "./route.ts";
import { useSession } from "./session.ts";
import { ShortcutHelp, useShortcuts } from "./shortcuts.tsx";
import { ThemeSwitch } from "./theme-switch.tsx";
import { VIEWS, type View } from "./views.tsx";

/** The navigation, and the view that the address names. */
export function Shell({ onLogOut }: { readonly onLogOut: () => Promise<void> }): ReactNode {
  const { roles } = useSession();
  const open = VIEWS.filter(({ role }) => roles.has(role));
  const route = parseRoute(useHash());
  const view = route.view === "" ? open[0] : open.find(({ path }) => path === route.view);
  const help = useShortcuts(open);
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    document.title = view === undefined ? "Tidewire console" : `${view.title} · Tidewire console`;
  }, [view]);
  const skip = () => {
    main.current?.focus();
    main.current?.scrollIntoView();
  };
  return (
    <div className="shell">
      <button type="button" className="skip" onClick={skip}>
        Skip to the content
      </button>
      <Rail views={open} current={view} onLogOut={onLogOut} onHelp={help.open} />
      <main ref={main} tabIndex={-1}>
        <FaultBoundary key={view?.path}>
          <Suspense fallback={<p className="starting">Loading …</p>}>
            {view === undefined ? <NoView isOpen={open.length > 0} /> : <view.Component />}
          </Suspense>
        </FaultBoundary>
      </main>
      <ShortcutHelp views={open} {...help} />
    </div>
  );
}

function NoView({ isOpen }: { readonly isOpen: boolean }): ReactNode {
  return isOpen ? (
    <Empty title="There is no such view">Choose one in the navigation.</Empty>
  ) : (
    <Empty title="Your token opens no view">
      Views need the role <code>view</code>. Ask for an entry of <code>server.admin.tokens</code> that has it.
    </Empty>
  );
}

interface RailProps {
  readonly views: readonly View[];
  readonly current: View | undefined;
  readonly onLogOut: () => Promise<void>;
  readonly onHelp: () => void;
}

function Rail({ views, current, onLogOut, onHelp }: RailProps): ReactNode {
  const { name, roles } = useSession();
  const link = useRef<HTMLAnchorElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: on a phone the navigation scrolls sideways to the new view.
  useEffect(() => {
    link.current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [current]);
  return (
    <header className="rail">
      <a className="brand" href="#/">
        <Logo />
        <span>Tidewire</span>
      </a>
      <nav aria-label="Views">
        <ul>
          {views.map(({ path, title }) => (
            <li key={path}>
              <a
                ref={path === current?.path ? link : undefined}
                href={hrefOf(path)}
                aria-current={path === current?.path ? "page" : undefined}
              >
                {title}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <div className="rail-foot">
        <ThemeSwitch />
        <div className="who">
          <strong>{name}</strong>
          <span>{[...roles].join(", ") || "no role"}</span>
        </div>
        <div className="rail-actions">
          <button type="button" className="quiet" onClick={() => void onLogOut()}>
            Log out
          </button>
          <button type="button" className="quiet" onClick={onHelp}>
            Keys <kbd>?</kbd>
          </button>
        </div>
      </div>
    </header>
  );
}
