/**
 * Joins the payment extension to what a torrent does with it: which side of the money this end of a
 * connection is on, and which peer of the session it belongs to.
 */
import type { PayLink } from '../channels/link.js';
import type { Message, MessageType, RejectCode } from '../channels/message.js';
import {
  type ExtensibleWire,
  extensionFor,
  NAME,
  type PayHandler,
  type PaymentExtension,
} from '../wire/extension.js';
import type { Peer } from '../wire/peer.js';

/** What one torrent makes of its payment links. */
export interface PayRole {
  onReady(link: PayLink, peer: Peer): void;
  onMessage(link: PayLink, message: Message): void;
  onInvalid(link: PayLink, refused: MessageType, code: RejectCode): void;
  onClosed(link: PayLink): void;
}

export interface Links {
  /** The extension class for the torrent's wires. */
  readonly extension: new (
    wire: ExtensibleWire,
  ) => PaymentExtension;
  /** Call first for every new peer, before its handshake reaches the extension. */
  bind(peer: Peer): void;
  /** Call when the peer is gone. */
  end(peer: Peer): void;
  linkOf(peer: Peer): PayLink | undefined;
  peerOf(link: PayLink): Peer | undefined;
}

export function createLinks(role: PayRole, onFault: (fault: unknown) => void): Links {
  const peers = new Map<number, Peer>();
  const waiting = new Set<Peer>();
  const byLink = new Map<number, Peer>();

  const find = (link: PayLink): Peer | undefined => {
    const known = byLink.get(link.id);
    if (known) return known;
    for (const peer of waiting) {
      if (instance(peer)?.link !== link) continue;
      waiting.delete(peer);
      byLink.set(link.id, peer);
      return peer;
    }
    return undefined;
  };
  const handler: PayHandler = {
    onReady(link) {
      const peer = find(link);
      if (peer) role.onReady(link, peer);
    },
    onMessage: (link, message) => role.onMessage(link, message),
    onInvalid: (link, refused, code) => role.onInvalid(link, refused, code),
    onClosed(link) {
      byLink.delete(link.id);
      role.onClosed(link);
    },
  };
  return {
    extension: extensionFor(handler),
    bind(peer) {
      peers.set(peer.id, peer);
      waiting.add(peer);
      const { address, localPeerId } = peer;
      instance(peer)?.bind({ address, localPeerId, onFault, close: (reason) => peer.destroy(reason) });
    },
    end(peer) {
      peers.delete(peer.id);
      waiting.delete(peer);
      instance(peer)?.end();
    },
    linkOf: (peer) => instance(peer)?.link,
    peerOf: find,
  };
}

function instance(peer: Peer): PaymentExtension | undefined {
  return peer.extension(NAME) as PaymentExtension | undefined;
}
