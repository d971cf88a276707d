/**
 * The library: an engine, and the payment extension that joins it to any bittorrent-protocol wire. The
 * commands are users of the same surface.
 */
export { type Config, load as loadConfig, type Settings } from './config.js';
export type { PayeeWire, PayeeWireOptions, PayerWire, PayerWireOptions } from './engine/attaching.js';
export type * from './engine/operations.js';
export { createEngine, Engine, type EngineEvent, type EngineOptions, paymentExtension } from './engine.js';
export { ERRORS, type ErrorCode, PieceworkError } from './errors.js';
export { Account } from './settlement/account.js';
export { formatAmount, formatPrice, parseAmount, parsePrice } from './units.js';
