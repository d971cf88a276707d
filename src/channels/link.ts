/**
 * One connection over which payment messages travel, seen from those who speak them. wire/extension makes
 * links, accounting talks through them; neither knows the other.
 */
import type { Message } from './message.js';

export interface PayLink {
  readonly id: number;
  /** The peer's IP address, for limits and bans. */
  readonly address: string;
  readonly infohash: Uint8Array;
  readonly peerId: Uint8Array;
  readonly localPeerId: Uint8Array;
  readonly closed: boolean;
  /** Sends one message; does nothing once the connection is closed. */
  send(message: Message): void;
  /** Ends the connection; the reason is for logs. */
  close(reason: string): void;
}
