/** Socket.IO by hand, over polls: for requests that the library's own client would never send. */

/** A client of the engine's polls that sends only the requests of the test. */
export class SocketIoPoller {
  readonly #base: string;
  /** The id of its session. */
  readonly sid: string;

  private constructor(base: string, sid: string) {
    this.#base = base;
    this.sid = sid;
  }

  static async open(base: string): Promise<SocketIoPoller> {
    const answer = await fetch(`${base}/socket.io/?EIO=4&transport=polling`);
    if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
    const { sid } = JSON.parse((await answer.text()).slice(1));
    return new SocketIoPoller(base, sid);
  }

  get url(): string {
    return `${this.#base}/socket.io/?EIO=4&transport=polling&sid=${this.sid}`;
  }

  /** Packets that wait, one text each. */
  async poll(): Promise<string[]> {
    const answer = await fetch(this.url);
    if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
    return (await answer.text()).split("\x1e");
  }

  /** Polls until a packet comes that begins so. */
  async until(start: string): Promise<string> {
    for (;;) {
      const packet = (await this.poll()).find((text) => text.startsWith(start));
      if (packet !== undefined) return packet;
    }
  }

  /** Polls, and answers pings, until so many different documents have come. */
  async untilDocuments(count: number): Promise<void> {
    const got = new Set<string>();
    while (got.size < count) {
      for (const packet of await this.poll()) {
        if (packet === "2") await this.post("3");
        const [, type, text] = /^42\["(\w+)",(.*)\]$/.exec(packet) ?? [];
        const message = text === undefined ? {} : JSON.parse(text);
        if (type === "added") got.add(message.doc._id);
        if (type === "snapshot") for (const { _id } of message.docs) got.add(_id);
      }
    }
  }

  async post(body: string): Promise<number> {
    return (await fetch(this.url, { method: "POST", body })).status;
  }
}
