/**
 * The state of a client's authentication. Tokens are verified asynchronously and may overtake one another, so they are
 * numbered, and only this class decides which one is in force.
 */
import assert from "node:assert/strict";
import type { Identity } from "../../auth/verify-token.ts";
import type { Account } from "../../feed/account.ts";
import type { ValueMode } from "../../protocol/messages.ts";
import { ClientError } from "./client-error.ts";

/**
 * The identity of a client: its first token, the newer tokens that replace it, the account of its user, and the form of
 * values that the client chose.
 */
export class Login {
  readonly #clockToleranceMs: number;
  #phase: "awaited" | "checking" | "welcomed" = "awaited";
  #values: ValueMode = "json";
  #client: string | undefined;
  #identity: Identity | null = null;
  #account: Account | null = null;
  #welcomedAtMs: number | null = null;
  #deadlineMs = Number.POSITIVE_INFINITY;
  #isNoticed = false;
  /** The number of the newest token that the client sent, and of the token in force. */
  #lastRefresh = 0;
  #refreshInForce = 0;

  /** @param clockToleranceMs How long a token is still valid after its expiry, in milliseconds. */
  constructor(clockToleranceMs: number) {
    this.#clockToleranceMs = clockToleranceMs;
  }

  /** Whether the client has sent nothing that identifies it. */
  get isAwaited(): boolean {
    return this.#phase === "awaited";
  }

  /** Whether the check of the first token is in progress. */
  get isChecking(): boolean {
    return this.#phase === "checking";
  }

  get isWelcomed(): boolean {
    return this.#phase === "welcomed";
  }

  /** When the client was welcomed, in epoch milliseconds; `null` before that. */
  get welcomedAtMs(): number | null {
    return this.#welcomedAtMs;
  }

  /** `null` for an anonymous client, and before `welcome`. */
  get identity(): Identity | null {
    return this.#identity;
  }

  /** The account of the user, which exists from `welcome` on. */
  get account(): Account {
    assert(this.#account !== null, "the login has not finished");
    return this.#account;
  }

  get values(): ValueMode {
    return this.#values;
  }

  /** When the token ends, tolerance included, in epoch milliseconds; `Infinity` if never. */
  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  /** When the service will stop pushing, in epoch milliseconds; `null` if never. */
  get expiresAtMs(): number | null {
    return Number.isFinite(this.#deadlineMs) ? this.#deadlineMs : null;
  }

  /** Takes the form of values that the client asks for, if any. */
  wantValues(mode: ValueMode | undefined): void {
    if (mode !== undefined) this.#values = mode;
  }

  /** The name and version that the client reports about itself, for the log. */
  get client(): string | undefined {
    return this.#client;
  }

  named(client: string | undefined): void {
    this.#client = client;
  }

  /**
   * Begins the check of the first token.
   * @throws {ClientError} `bad-request` after the first time.
   */
  begin(): void {
    if (!this.isAwaited) throw new ClientError("bad-request", "hello is sent once, before any other message");
    this.#phase = "checking";
  }

  /** Takes the identity from the first token, and the account of its user. */
  welcome(identity: Identity | null, account: Account): void {
    this.#account = account;
    this.#phase = "welcomed";
    this.#welcomedAtMs = Date.now();
    this.#take(identity);
  }

  /** Takes the claims and the expiry of a newer token. */
  replace(identity: Identity): void {
    this.#isNoticed = false;
    this.#take(identity);
  }

  /** Assigns a number to a newer token, whose verification starts now. */
  startRefresh(): number {
    return ++this.#lastRefresh;
  }

  /** Whether a token that was sent later is in force already. */
  isOvertaken(number: number): boolean {
    return number < this.#refreshInForce;
  }

  /** The token with this number is in force from now on. */
  finishRefresh(number: number): void {
    this.#refreshInForce = number;
  }

  /** Whether to announce the expiry of the token now. It is announced once per token. */
  takeNotice(nowMs: number, noticeMs: number): boolean {
    if (this.#isNoticed || this.#deadlineMs - nowMs > noticeMs) return false;
    this.#isNoticed = true;
    return true;
  }

  #take(identity: Identity | null): void {
    const expiresAtMs = identity?.expiresAtMs ?? null;
    this.#identity = identity;
    this.#deadlineMs = expiresAtMs === null ? Number.POSITIVE_INFINITY : expiresAtMs + this.#clockToleranceMs;
  }
}
