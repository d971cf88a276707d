/**
 * Where peers are: announces a torrent to its trackers in time and hands out each address once, with those
 * that were named by hand. It connects to nobody.
 *
 * Bounded: in the addresses it remembers, and in how often a tracker can make it announce.
 */
import { type Clock, systemClock } from '../clock.js';
import { PieceworkError } from '../errors.js';
import { peersMax } from '../limits.js';
import type { PeerAddress } from './tracker.js';
import * as Tracker from './tracker.js';

export type { PeerAddress } from './tracker.js';

export interface DiscoveryOptions {
  readonly infohash: Uint8Array;
  readonly peerId: Uint8Array;
  /** Addresses of the trackers. */
  readonly announce: readonly string[];
  /** The port that peers may connect to. */
  readonly port: number;
  /** Bytes of the torrent that are missing here. */
  readonly left: () => number;
  readonly uploaded?: () => number;
  readonly downloaded?: () => number;
  /** Addresses that were not handed out before. */
  readonly onPeers: (peers: readonly PeerAddress[]) => void;
  /** A tracker that worked, or was not asked yet, has failed: a sentence for people. */
  readonly onWarning?: (text: string) => void;
  /** Every tracker failed; they are tried again all the same. Called once until one works again. */
  readonly onFailed?: (error: PieceworkError) => void;
  readonly peersWanted?: number;
  readonly retryMs?: number;
  readonly clock?: Clock;
}

export interface Discovery {
  /** Adds a peer by hand. */
  add(peer: PeerAddress): void;
  /** Forgets an address, so that it is handed out again when it is met again. */
  forget(peer: PeerAddress): void;
  /** Announces at once: the download is complete, or peers are missing. */
  update(event?: 'completed'): void;
  /** What is known of each tracker, for people. */
  trackers(): readonly TrackerState[];
  /** Tells the trackers goodbye, as far as they answer soon, and ends. */
  stop(): Promise<void>;
}

export interface TrackerState {
  readonly url: string;
  readonly state: 'waiting' | 'asking' | 'working' | 'failed';
  readonly peers: number;
  readonly error: string | undefined;
}

const PEERS_WANTED = 50;
const INTERVAL_MIN_SECONDS = 60;
const INTERVAL_MAX_SECONDS = 7_200;
const RETRY_MS = 30_000;
const RETRY_MAX_MS = 1_800_000;
const GOODBYE_MS = 1_500;

interface Contact {
  readonly url: string;
  state: TrackerState['state'];
  peers: number;
  error: PieceworkError | undefined;
  failures: number;
  /** Whether the tracker knows of this peer. */
  greeted: boolean;
  cancel: () => void;
}

/** Begins to announce, and to hand out peers. */
export function start(options: DiscoveryOptions): Discovery {
  const { clock = systemClock, retryMs = RETRY_MS } = options;
  const known = new Set<string>();
  const abort = new AbortController();
  const contacts = options.announce.map(contactFor);
  let allFailed = false;
  let stopped = false;

  const offer = (peers: readonly PeerAddress[]): void => {
    const fresh: PeerAddress[] = [];
    for (const peer of peers) {
      const key = keyOf(peer);
      if (known.has(key) || known.size >= peersMax) continue;
      known.add(key);
      fresh.push(peer);
    }
    if (!stopped && fresh.length > 0) options.onPeers(fresh);
  };
  const announce = (contact: Contact, event: Tracker.Event, signal: AbortSignal): Promise<Tracker.Answer> => {
    const { infohash, peerId, port, left, uploaded, downloaded, peersWanted = PEERS_WANTED } = options;
    const wanted = event === 'stopped' ? 0 : peersWanted;
    const totals = { left: left(), uploaded: uploaded?.() ?? 0, downloaded: downloaded?.() ?? 0 };
    return Tracker.announce(contact.url, { infohash, peerId, port, event, wanted, ...totals }, signal);
  };
  /** Notes a failure; says so where it is news. */
  const failed = (contact: Contact, error: PieceworkError): void => {
    const news = contact.state !== 'failed' && contact.failures === 0;
    Object.assign(contact, { state: 'failed', error, failures: contact.failures + 1 });
    if (stopped) return;
    if (news) options.onWarning?.(error.message);
    if (allFailed || !contacts.every(({ failures }) => failures > 0)) return;
    allFailed = true;
    options.onFailed?.(error);
  };
  const ask = async (contact: Contact, event: Tracker.Event): Promise<void> => {
    if (stopped || contact.state === 'asking') return;
    contact.cancel();
    contact.state = 'asking';
    let waitMs: number;
    try {
      const answer = await announce(contact, contact.greeted ? event : 'started', abort.signal);
      Object.assign(contact, { state: 'working', greeted: true, failures: 0, error: undefined });
      contact.peers = answer.peers.length;
      allFailed = false;
      waitMs = 1000 * Math.min(Math.max(answer.intervalSeconds, INTERVAL_MIN_SECONDS), INTERVAL_MAX_SECONDS);
      offer(answer.peers);
    } catch (thrown) {
      failed(
        contact,
        thrown instanceof PieceworkError ? thrown : new PieceworkError('INTERNAL', String(thrown)),
      );
      waitMs = Math.min(retryMs * 2 ** Math.min(contact.failures - 1, 10), RETRY_MAX_MS);
    }
    if (!stopped) contact.cancel = clock.after(waitMs, () => void ask(contact, undefined));
  };
  for (const contact of contacts) void ask(contact, 'started');

  return {
    add: (peer) => offer([peer]),
    forget: (peer) => void known.delete(keyOf(peer)),
    update(event) {
      for (const contact of contacts) void ask(contact, event);
    },
    trackers: () =>
      contacts.map(({ url, state, peers, error }) => ({ url, state, peers, error: error?.message })),
    async stop() {
      if (stopped) return;
      stopped = true;
      abort.abort();
      for (const contact of contacts) contact.cancel();
      const patience = new AbortController();
      const cancel = clock.after(GOODBYE_MS, () => patience.abort());
      const greeted = contacts.filter((contact) => contact.greeted);
      await Promise.allSettled(greeted.map((contact) => announce(contact, 'stopped', patience.signal)));
      cancel();
    },
  };
}

const keyOf = ({ address, port }: PeerAddress): string => `${address} ${port}`;

const contactFor = (url: string): Contact => ({
  url,
  state: 'waiting',
  peers: 0,
  error: undefined,
  failures: 0,
  greeted: false,
  cancel: () => {},
});
