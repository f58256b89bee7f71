/** The service worker: shows a notification for each push, and opens its page on a click. */
self.addEventListener("push", (event) => {
  const { title = "Something has changed", body = "", url = "/", registration } = event.data.json();
  // With the registration as its tag, a later notification replaces an earlier one.
  event.waitUntil(self.registration.showNotification(title, { body, tag: registration, data: { url } }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const target = new URL(event.notification.data.url, self.location.origin);
  if (target.origin === self.location.origin) event.waitUntil(show(target));
});

async function show(target) {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const present = pages.find(({ url }) => new URL(url).pathname === target.pathname);
  await (present === undefined ? self.clients.openWindow(target) : present.focus());
}
