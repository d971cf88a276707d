/**
 * Who is unchoked: everybody who pays, and as many of the others as there are free slots, in turn. A pure
 * decision; the seeder carries it out.
 */

/** Paid peers are unchoked, free ones share the free slots, the others stay choked. */
export type Standing = 'paid' | 'free' | 'none';

export interface Candidate {
  readonly peer: { readonly peerInterested: boolean };
  readonly standing: Standing;
  readonly choked: boolean;
  /** Monotonic time of the last change between choked and unchoked. */
  readonly turnedMs: number;
}

/** Says whom to choke and whom to unchoke. With `rotate`, one slot goes to who waits longest. */
export function arrange<Who extends Candidate>(
  candidates: readonly Who[],
  freeSlots: number,
  rotate: boolean,
): { readonly choke: readonly Who[]; readonly unchoke: readonly Who[] } {
  const isWanted = ({ peer, standing }: Who): boolean => peer.peerInterested && standing !== 'none';
  const byTurn = (a: Who, b: Who): number => a.turnedMs - b.turnedMs;
  const unwanted = candidates.filter((who) => !isWanted(who) && !who.choked);
  const paying = candidates.filter((who) => isWanted(who) && who.standing === 'paid' && who.choked);
  const free = candidates.filter((who) => isWanted(who) && who.standing === 'free');
  const holders = free.filter(({ choked }) => !choked).sort(byTurn);
  const others = free.filter(({ choked }) => choked).sort(byTurn);
  const full = holders.length >= freeSlots && freeSlots > 0;
  const changing = rotate && full && others.length > 0 ? 1 : 0;
  const surplus = Math.max(holders.length - freeSlots, 0) || changing;
  const places = Math.max(0, freeSlots - (holders.length - surplus));
  return {
    choke: [...unwanted, ...holders.slice(0, surplus)],
    unchoke: [...paying, ...others.slice(0, places)],
  };
}
