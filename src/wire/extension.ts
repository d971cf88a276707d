/**
 * pw_pay as a BEP 10 extension of a bittorrent-protocol wire: turns payloads into messages and a wire into a
 * PayLink. It decides nothing about money. No exception leaves a handler: what throws ends this connection.
 */
import type { PayLink } from '../channels/link.js';
import type { Message, MessageType, RejectCode } from '../channels/message.js';
import { messagesPerSecondMax } from '../limits.js';
import { fromHex } from '../units.js';
import * as Messages from './messages.js';

export const NAME = 'pw_pay';

/** What the extension needs of a wire; any bittorrent-protocol 5 Wire has it. */
export interface ExtensibleWire {
  readonly peerExtendedMapping: Record<string, number>;
  extended(name: string | number, payload: Uint8Array): void;
  once(event: 'close' | 'finish', listener: () => void): unknown;
  destroy(): unknown;
}

export interface PayHandler {
  /** The peer speaks pw_pay: messages may be sent from now on. */
  onReady(link: PayLink): void;
  onMessage(link: PayLink, message: Message): void;
  /** A payload that is no message; the link has not answered it yet. */
  onInvalid(link: PayLink, refused: MessageType, code: RejectCode): void;
  onClosed(link: PayLink): void;
}

export interface LinkContext {
  readonly address: string;
  readonly localPeerId: Uint8Array;
  /** Called when a handler threw, with what it threw. */
  readonly onFault: (fault: unknown) => void;
  /** Ends the connection; the default destroys the wire. */
  readonly close?: (reason: string) => void;
}

/** The object that `wire.use` makes; also found at `wire.pw_pay`. */
export interface PaymentExtension {
  readonly link: PayLink | undefined;
  /** Says whose connection this is; due before the handshake arrives unless the class was made with it. */
  bind(context: LinkContext): void;
  /** Tells the handler that the connection ended; called by itself where the wire says so. */
  end(): void;
  onHandshake(infohash: string, peerId: string): void;
  onExtendedHandshake(handshake: unknown): void;
  onMessage(payload: Uint8Array): void;
}

let links = 0;

/** Makes the extension class; pass it to `wire.use`. `context` may instead be bound to each instance. */
export function extensionFor(
  handler: PayHandler,
  context?: LinkContext,
): new (
  wire: ExtensibleWire,
) => PaymentExtension {
  class Extension implements PaymentExtension {
    declare readonly name: string;
    link: (PayLink & { closed: boolean }) | undefined;
    private context = context;
    private ready = false;
    private tokens = messagesPerSecondMax;
    private refilledMs = performance.now();

    constructor(private readonly wire: ExtensibleWire) {
      const ended = (): void => this.end();
      wire.once('close', ended);
      wire.once('finish', ended);
    }

    bind(context: LinkContext): void {
      this.context = context;
    }

    onHandshake(infohash: string, peerId: string): void {
      this.guarded(() => {
        if (this.context) this.link ??= this.makeLink(this.context, fromHex(infohash), fromHex(peerId));
      });
    }

    onExtendedHandshake(): void {
      this.guarded(() => {
        if (!this.link || this.ready || !(this.wire.peerExtendedMapping[NAME]! > 0)) return;
        this.ready = true;
        handler.onReady(this.link);
      });
    }

    onMessage(payload: Uint8Array): void {
      this.guarded(() => {
        const { link } = this;
        if (!link || link.closed) return;
        const decoded = Messages.decode(payload);
        if (!this.ready)
          return handler.onInvalid(link, decoded.ok ? decoded.message.type : decoded.refused, 'malformed');
        if (!this.takeToken()) return link.close('too many payment messages');
        if (decoded.ok) handler.onMessage(link, decoded.message);
        else handler.onInvalid(link, decoded.refused, decoded.code);
      });
    }

    end(): void {
      const { link } = this;
      if (!link || link.closed) return;
      link.closed = true;
      if (this.ready) this.guarded(() => handler.onClosed(link));
    }

    private makeLink(
      { address, localPeerId, close }: LinkContext,
      infohash: Uint8Array,
      peerId: Uint8Array,
    ): PayLink & { closed: boolean } {
      const { wire } = this;
      const destroy = close ?? (() => wire.destroy());
      return {
        id: ++links,
        address,
        localPeerId,
        infohash,
        peerId,
        closed: false,
        send: (message) => {
          // The library throws when the peer has withdrawn the extension: that ends this connection alone.
          if (!this.link?.closed) this.guarded(() => wire.extended(NAME, Messages.encode(message)));
        },
        close: (reason) => {
          destroy(reason);
          this.end();
        },
      };
    }

    /** A bucket of one second's worth of messages; vouchers have a tighter one of their own. */
    private takeToken(): boolean {
      const nowMs = performance.now();
      this.tokens += ((nowMs - this.refilledMs) / 1000) * messagesPerSecondMax;
      this.tokens = Math.min(this.tokens, messagesPerSecondMax * 2) - 1;
      this.refilledMs = nowMs;
      return this.tokens >= 0;
    }

    private guarded(work: () => void): void {
      try {
        work();
      } catch (fault) {
        this.context?.onFault(fault);
        (this.context?.close ?? (() => this.wire.destroy()))('a payment handler failed');
      }
    }
  }
  Object.defineProperty(Extension.prototype, 'name', { value: NAME });
  return Extension;
}
