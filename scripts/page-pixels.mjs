import { toIndexedPng } from "./indexed-png.mjs";

/** Makes a picture of a page small. The browser reads its own picture, because Node has no decoder. */
export async function smallPicture(browser, png) {
  return toIndexedPng(await pixelsOf(browser, png));
}

async function pixelsOf(browser, png) {
  const page = await browser.newPage();
  const { width, height, base64 } = await page.evaluate(
    async (url) => {
      const image = await createImageBitmap(await (await fetch(url)).blob());
      const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
      context.drawImage(image, 0, 0);
      const { data } = context.getImageData(0, 0, image.width, image.height);
      let text = "";
      for (let at = 0; at < data.length; at += 8_192)
        text += String.fromCharCode(...data.subarray(at, at + 8_192));
      return { width: image.width, height: image.height, base64: btoa(text) };
    },
    `data:image/png;base64,${png.toString("base64")}`,
  );
  await page.close();
  return { width, height, rgba: Buffer.from(base64, "base64") };
}
