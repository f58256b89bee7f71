/** A video without a camera: a drawing that moves, so that the example asks for no permission. */
const SIZE = { width: 320, height: 180 };
const PICTURES_PER_SECOND = 15;

/** @param name Is written into the drawing. */
export function drawingOf(name: string): MediaStream {
  const canvas = Object.assign(document.createElement("canvas"), SIZE);
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser draws nothing");
  const hue = [...name].reduce((sum, letter) => sum + (letter.codePointAt(0) ?? 0) * 47, 0) % 360;
  const draw = () => {
    const turn = performance.now() / 1_000;
    context.fillStyle = `hsl(${hue} 60% 30%)`;
    context.fillRect(0, 0, SIZE.width, SIZE.height);
    for (let dot = 0; dot < 12; dot += 1) {
      const angle = turn + (dot * Math.PI) / 6;
      context.fillStyle = `hsl(${hue + dot * 10} 80% ${45 + dot * 3}%)`;
      context.beginPath();
      context.arc(
        SIZE.width / 2 + Math.cos(angle) * 62,
        SIZE.height / 2 + Math.sin(angle) * 62,
        5 + dot / 2,
        0,
        7,
      );
      context.fill();
    }
    context.fillStyle = "white";
    context.font = "600 28px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(name, SIZE.width / 2, SIZE.height / 2, 110);
  };
  draw();
  // Not by animation frames, which stop in a tab that is not in sight.
  setInterval(draw, 1_000 / PICTURES_PER_SECOND);
  return canvas.captureStream(PICTURES_PER_SECOND);
}
