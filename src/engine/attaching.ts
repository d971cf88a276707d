/**
 * The payment extension for wires that are not this engine's own: whoever runs the BitTorrent side calls
 * `admit` before serving a piece and `reserve` before asking for one, and the engine does the rest. One class
 * serves one wire: `wire.use(paymentExtension(engine, {…}))`, then `wire.pw_pay`.
 */
import type { Reservation } from '../accounting/payer.js';
import type { PayLink } from '../channels/link.js';
import { type ExtensibleWire, extensionFor, type PaymentExtension } from '../wire/extension.js';
import type { Buying } from './buying.js';
import type { Selling } from './selling.js';

export interface WireOptions {
  /** The peer's address, for limits and bans. */
  readonly address: string;
  /** The 20 bytes that this side sends as its peer id. */
  readonly localPeerId: Uint8Array;
  /** Hears when money starts or stops flowing on this wire. */
  readonly onStanding?: (standing: string) => void;
  readonly onFault?: (fault: unknown) => void;
}

export interface PayeeWireOptions extends WireOptions {
  readonly role: 'payee';
  readonly pieceLength: number;
  /** Stalled pieces may be asked for again. */
  readonly onResume?: () => void;
}

export interface PayerWireOptions extends WireOptions {
  readonly role: 'payer';
  readonly infohash: Uint8Array;
  /** Base units; the total for this torrent. */
  readonly budget: bigint;
  /** Bytes still wanted: a new channel's deposit covers no more. */
  readonly bytesLeft: () => number;
  /**
   * Whether a piece is here and verified: asked at the start about pieces that an earlier run of this program
   * had reserved and not paid. Without it they are given up.
   */
  readonly has?: (piece: number) => boolean;
}

export type Admission = 'serve' | 'wait' | 'refuse';

/** `wire.pw_pay` of a payee. Pieces are granted and paid as a whole: it takes no ticks. */
export interface PayeeWire extends PaymentExtension {
  /** Asks for credit for a whole piece. Serve only after 'serve'; after 'wait' ask again on `onResume`. */
  admit(piece: number, bytes: number): Promise<Admission>;
  /** All of the piece has left. */
  sent(piece: number): void;
  delivered(bytes: number): void;
}

/** `wire.pw_pay` of a payer. */
export interface PayerWire extends PaymentExtension {
  /** Reserves the price of a piece. Ask the peer for it only after 'ok'. */
  reserve(piece: number, bytes: number): Promise<Reservation>;
  /** The piece is verified and written: pays it. */
  received(piece: number, bytes: number): Promise<void>;
  abandoned(piece: number): Promise<void>;
  /** Sends the final voucher; resolves with whether the payee acknowledged it in time. */
  finish(timeoutMs?: number): Promise<boolean>;
}

export type PaymentExtensionClass<Kind extends PaymentExtension = PaymentExtension> = new (
  wire: ExtensibleWire,
) => Kind;

const FINISH_TIMEOUT_MS = 10_000;
const noop = (): void => {};

export function attachPayee(selling: Selling, options: PayeeWireOptions): PaymentExtensionClass<PayeeWire> {
  const { payee } = selling;
  const context = {
    address: options.address,
    localPeerId: options.localPeerId,
    onFault: options.onFault ?? noop,
  };
  const Extension = extensionFor(
    {
      onReady(link) {
        const onStanding = options.onStanding ?? noop;
        selling.adopt(link, { onStanding, onResume: options.onResume ?? noop });
        payee.attach(link, { pieceLength: options.pieceLength, byBlock: false });
      },
      onMessage: payee.onMessage,
      onInvalid: payee.onInvalid,
      onClosed: (link) => void selling.release(link),
    },
    context,
  );
  return withVerbs<PayeeWire>(Extension, (link) => ({
    admit: async (piece: number, bytes: number): Promise<Admission> => {
      const wire = link();
      const [admission = 'refuse'] = wire ? await payee.admit(wire, [{ piece, bytes, lacking: bytes }]) : [];
      return typeof admission === 'number' ? 'serve' : admission;
    },
    sent: (piece: number) => link() && payee.sent(link()!, piece),
    delivered: (bytes: number) => link() && payee.delivered(link()!, bytes),
  }));
}

/** `open` makes the torrent's purse; it is asked once the peer turns out to sell. */
export function attachPayer(
  open: (onStanding: (standing: string) => void) => Promise<Buying>,
  options: PayerWireOptions,
): PaymentExtensionClass<PayerWire> {
  let opening: Promise<Buying> | undefined;
  const buying = (): Promise<Buying> => {
    opening ??= open(options.onStanding ?? noop);
    return opening;
  };
  const fault = options.onFault ?? noop;
  const late = (work: (purse: Buying) => unknown): void => void buying().then(work).catch(fault);
  const Extension = extensionFor(
    {
      onReady: (link) => late(({ payer }) => payer.attach(link)),
      onMessage: (link, message) => late(({ payer }) => payer.onMessage(link, message)),
      onInvalid(link, refused, code) {
        if (refused !== 'reject') link.send({ type: 'reject', refused, code, detail: '' });
      },
      onClosed: (link) => late((purse) => purse.detach(link)),
    },
    { address: options.address, localPeerId: options.localPeerId, onFault: fault },
  );
  return withVerbs<PayerWire>(Extension, (link) => ({
    reserve: async (piece: number, bytes: number) =>
      link() ? (await buying()).payer.reserve(link()!, piece, bytes) : 'stop',
    received: async (piece: number, bytes: number) =>
      link() && (await buying()).payer.received(link()!, piece, bytes),
    abandoned: async (piece: number) => link() && (await buying()).payer.abandoned(link()!, piece),
    finish: async (timeoutMs = FINISH_TIMEOUT_MS) => {
      if (!link()) return false;
      const { payer, acknowledged } = await buying();
      await payer.finish(link()!, timeoutMs);
      return acknowledged();
    },
  }));
}

/** Gives every instance of the class the verbs of its own link. */
function withVerbs<Kind extends PaymentExtension>(
  Extension: PaymentExtensionClass,
  verbs: (link: () => PayLink | undefined) => Record<string, unknown>,
): PaymentExtensionClass<Kind> {
  function Attached(wire: ExtensibleWire): PaymentExtension {
    const instance = new Extension(wire);
    return Object.assign(
      instance,
      verbs(() => instance.link),
    );
  }
  Attached.prototype = Extension.prototype;
  return Attached as unknown as PaymentExtensionClass<Kind>;
}
