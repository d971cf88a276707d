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

/**
 * What limits and bans count by: the address, of IPv6 only the /64, since one subscriber has all of it. IPv4 in
 * IPv6 clothes is IPv4. Anything that is no address is given back as it is.
 */
export function networkOf(address: string): string {
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address;
  if (!plain.includes(':')) return plain;
  const [head = '', tail] = plain.split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? 0 : tail.split(':').length;
  while (tail !== undefined && groups.length < 8 - rest) groups.push('0');
  return groups.slice(0, 4).join(':');
}
