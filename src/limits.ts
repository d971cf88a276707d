/**
 * Every bound in one place, greatest unit first in the name. What an operator may change is in config; what
 * stands here protects the process and is not a matter of taste.
 */
import { KIB, MIB } from './units.js';

// Wire.
/** Largest frame body a peer may announce: an extended message or a bitfield of 400,000 pieces. */
export const frameBytesMax = 64 * KIB;
export const blockBytesMax = 16 * KIB;
/** What goes in front of a block's bytes on the wire (BEP 3). */
export const blockHeadBytes = 13;
/** What unmodified clients may ask for at once, per BEP 3 practice. */
export const requestBytesMax = 128 * KIB;
/** Requests of one peer that wait; announced as reqq. */
export const requestsPerPeerMax = 2048;
/** Bytes queued towards one socket before no more blocks are read for it. */
export const sendQueueBytesMax = 2 * MIB;
export const peersPerTorrentMax = 200;
export const peersPerAddressMax = 20;
export const peersMax = 1000;
export const handshakeTimeoutMs = 10_000;
export const idleTimeoutMs = 120_000;
export const keepAlivePeriodMs = 55_000;
/** BEP 10 handshakes a peer may send. */
export const extendedHandshakesMax = 8;

// Payment messages.
export const payMessageBytesMax = 1024;
export const rejectDetailBytesMax = 128;
export const vouchersPerSecondMax = 2_000;
export const voucherBurstMax = 4_000;
/** As many ticks of a booked chain may come as one voucher: each is a few hashes, no signature. */
export const ticksPerVoucher = 8;
export const messagesPerSecondMax = 4_000;
export const banScore = 100;
export const banScoreHalfLifeMs = 60_000;
export const banDurationMs = 3_600_000;
export const bansMax = 100_000;
export const acceptRetriesMax = 60;
export const acceptRetryMs = 1_000;
export const offerLifetimeSeconds = 3_600n;
export const offerGraceSeconds = 600n;
/** Offers that a payer hears on one connection: the retries of wire.md 3, and prices that change now and then. */
export const offersPerLinkMax = 128;

// Accounting.
export const voucherLateMs = 2_000;
/** How often a channel that is about to be closed is looked at. */
export const drainPollMs = 25;
/** How long a voucher that nobody waits for may wait for better ones. */
export const voucherPatienceMs = 40;
export const defaultAfterMs = 60_000;
export const staleGrantMs = 60_000;
export const closeAnswerRetryMs = 10_000;
/** Channels that may wait to be looked up on the chain. */
export const lookUpsMax = 64;
export const intakeQueueMax = 100_000;
export const batchCommandsMax = 4_096;

// Torrents.
export const torrentBytesMax = 10 * MIB;
export const torrentPiecesMax = 400_000;
export const torrentFilesMax = 100_000;
export const torrentPathDepthMax = 64;
export const torrentNameBytesMax = 255;
export const pieceBytesMax = 64 * MIB;
/** Verified or incomplete pieces held in memory by one download. */
export const pieceBufferBytesMax = 128 * MIB;
export const pieceTimeoutMs = 30_000;
/** A download that gets nothing for this long ends with an error that says why. */
export const fetchIdleMs = 120_000;
/** The same where every seller was refused or nothing is left to spend: waiting will not help. */
export const fetchHopelessMs = 5_000;
/** A seller that lets pieces wait is not dealt with again for this long. */
export const stalledPauseMs = 60_000;
export const finishTimeoutMs = 10_000;
export const redialMs = 2_000;
export const dialsMax = 30;
export const metadataTimeoutMs = 30_000;
export const openFilesMax = 256;

// Chain.
export const rpcTimeoutMs = 15_000;
export const rpcRetriesMax = 3;
/** How often a node shows again that it serves the right chain. */
export const nodeRecheckMs = 30_000;
/** How long nodes that were slower than the ones needed for agreement are still waited for. */
export const nodePatienceMs = 500;
/** How long a node that failed or was contradicted is not asked; doubles with each time in a row. */
export const nodeAsideMs = 30_000;
export const nodeAsideMsMax = 600_000;
/** A node whose newest block lies further from the others' is stale, or ahead of the chain. */
export const headLagBlocksMax = 16n;
/** A standing alarm about a node is told again after this long; the counters count every one. */
export const alarmRepeatMs = 600_000;
/** Rows of one settling transaction: about half a block's gas and 76 KB of the 128 KiB a transaction may have. */
export const settleRowsMax = 1_000;
/** Tick rows of one settling transaction, 99 KB, and what their gas may come to: about half a block's. */
export const tickRowsMax = 800;
export const tickGasMax = 10_000_000n;
/** Channels closed by one transaction, each at most about 40,000 gas: a settled row and a credit to a new owner. */
export const closingsMax = 200;
/** Ended settlements that the ledger remembers. */
export const settlementsKeptMax = 10_000;
export const chainPollMs = 1_000;
/** Blocks whose logs are asked for at once. */
export const hintBlocksMax = 1_000n;
/** Blocks after which all watched channels are read again whatever the logs said: five minutes of BTTC. */
export const sweepBlocks = 150;
export const transactionWaitMs = 120_000;
/** How long a signed transaction may wait unmined before it is signed again at a higher price. */
export const transactionStuckMs = 30_000;
/** How much dearer, in thousandths. */
export const gasRaisePermille = 125;
/** Signings of one transaction, so that the record of a full batch fits a note; the last is 1,500 times as dear as the first. */
export const variantsMax = 64;

// Towers. Clients times claims stays below what one watcher watches.
export const towerClientsMax = 32;
export const towerClaimsPerClientMax = 3_000;
/** Every payee costs a view call at every block. */
export const towerPayeesPerClientMax = 8;
export const towerRowsPerRequestMax = 256;
export const towerClaimsPerPageMax = 500;
export const towerRequestsPerSecondMax = 4;
export const towerRequestBurstMax = 16;
export const towerRowsPerSecondMax = 10;
export const towerRowBurstMax = 4_000;
export const towerConnectionsMax = 256;
export const towerRequestMs = 15_000;
/** What a client waits for the chain at most, before its new channels are left unchecked. */
export const towerLookUpMs = 8_000;
/** Transactions of a tower under way at once. */
export const towerSendsMax = 4;
/** A claim that is not worth settling now is looked at again after this long. */
export const towerSkippedMs = 60_000;
/** How often a payee looks for heads that a tower does not hold, and how long it waits for a tower at most. */
export const towerPushMs = 5_000;
export const towerPushPauseMsMax = 300_000;
export const towerAnswerMs = 20_000;
export const towerAnswerBytesMax = 256 * KIB;
/** Towers of one payee. */
export const towersMax = 8;

// Vaults.
/** The JSON of one cheque; go-btfs's has about 330. */
export const vaultChequeBytesMax = 1_024;
/** Cheques kept of one vault and token. */
export const vaultRungsMax = 256;
/** Vaults that are trusted at a time. */
export const vaultsMax = 1_000;
/** Vaults read from the chain at a time. */
export const vaultReadsMax = 4;
/** Wait after a look at the vaults that failed. */
export const vaultRetryMs = 10_000;

// Daemon.
export const httpBodyBytesMax = 64 * KIB;
export const pageRowsMax = 1_000;
