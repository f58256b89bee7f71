/**
 * Every WebSocket close code of the protocol (docs/protocol.md, section 5). Its range says what the client should do.
 */
export const CLOSE_CODES = {
  protocolError: 1002,
  invalidText: 1007,
  serviceRestart: 1012,
  overloaded: 1013,
  noPong: 4000,
  stalled: 4001,
  maximumAge: 4002,
  disconnected: 4003,
  tokenExpired: 4100,
  keyUnknown: 4101,
  tokenRevoked: 4102,
  nodeFull: 4200,
  tooManyConnections: 4201,
  drained: 4202,
  malformedMessage: 4400,
  notAuthenticated: 4401,
  notAllowed: 4403,
  noHello: 4408,
  abuse: 4429,
  tooLarge: 1009,
  bug: 1011,
} as const;
/** A close code that the service sends (docs/protocol.md, section 5). */
export type CloseCode = (typeof CLOSE_CODES)[keyof typeof CLOSE_CODES];
