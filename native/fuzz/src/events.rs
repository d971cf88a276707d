//! Events in the bytes of a frame: what decodes encodes to the very bytes it was read from.

use piecework_core::amount::Amount;
use piecework_core::ledger::command::Role;
use piecework_core::ledger::event::Event;
use piecework_core::voucher::Row;

use crate::Seen;

/// Events one after the other, as a frame holds them.
pub fn run(data: &[u8]) -> Seen {
    let mut rest = data;
    let mut accepted = false;
    let mut again = Vec::with_capacity(128);
    loop {
        let before = rest;
        let Some(event) = Event::decode(&mut rest) else {
            return Seen::one(accepted);
        };
        let taken = before.len() - rest.len();
        again.clear();
        event.encode(&mut again);
        assert_eq!(again, before[..taken], "{event:?}");
        assert!(taken <= event.size_max(), "{event:?}");
        accepted = true;
    }
}

const INFOHASH: [u8; 20] = [5; 20];
const ROW: Row = Row([7; 76]);

fn amount(value: u128) -> Amount {
    Amount::new(value).unwrap_or_default()
}

fn put(role: Role, key: u8, key_index: u64) -> Event<'static> {
    Event::ChannelPut {
        role,
        voucher_key: [key; 20],
        payee: [3; 20],
        deposit: amount(1 << 80),
        settled: Amount::ZERO,
        close_at: 0,
        block: 1,
        key_index,
    }
}

fn open(channel: u32, id: u8) -> Event<'static> {
    Event::SessionOpened {
        channel,
        session_id: [id; 16],
        infohash: INFOHASH,
        price_mib: amount(1000),
        minimum_step: amount(1),
        prepay: amount(50),
    }
}

/// One event of every kind.
#[must_use]
pub fn all() -> Vec<Event<'static>> {
    vec![
        put(Role::Payee, 2, 0),
        put(Role::Payer, 1, 4),
        open(0, 4),
        Event::SessionClosed {
            session: 0,
            delivered_bytes: 5,
        },
        Event::Granted {
            session: 0,
            bytes: 1 << 20,
        },
        Event::VoucherAccepted {
            session: 0,
            row: ROW,
        },
        Event::WrittenOff {
            session: 0,
            amount: amount(5),
        },
        Event::BudgetSet {
            infohash: INFOHASH,
            limit: amount(9999),
        },
        Event::Purchased {
            session: 0,
            piece: 1,
            bytes: 1 << 18,
            recovered: Amount::ZERO,
        },
        Event::Abandoned {
            session: 0,
            piece: 1,
            forfeited: Amount::ZERO,
        },
        Event::Paid {
            session: 0,
            piece: 1,
            bytes: 1 << 18,
        },
        Event::Signed {
            channel: 0,
            row: ROW,
        },
        Event::Adopted {
            channel: 0,
            row: ROW,
        },
        Event::NoteKept {
            space: 1,
            key: [6; 32],
            value: Some(b"kept"),
        },
        Event::NoteKept {
            space: 1,
            key: [6; 32],
            value: None,
        },
    ]
}

/// The bytes of events that fit each other: a channel of each role with all that can happen to it.
#[must_use]
pub fn life() -> Vec<u8> {
    let (session, bytes) = (1, 1 << 18);
    let purchased = |piece| Event::Purchased {
        session,
        piece,
        bytes,
        recovered: Amount::ZERO,
    };
    let granted = Event::Granted {
        session: 0,
        bytes: 1 << 20,
    };
    let events = [
        put(Role::Payee, 2, 0),
        put(Role::Payer, 1, 4),
        open(0, 4),
        open(1, 5),
        granted,
        Event::WrittenOff {
            session: 0,
            amount: amount(5),
        },
        Event::VoucherAccepted {
            session: 0,
            row: ROW,
        },
        granted,
        Event::BudgetSet {
            infohash: INFOHASH,
            limit: amount(9999),
        },
        purchased(1),
        purchased(2),
        Event::Paid {
            session,
            piece: 1,
            bytes,
        },
        Event::Signed {
            channel: 1,
            row: ROW,
        },
        Event::Abandoned {
            session,
            piece: 2,
            forfeited: amount(3),
        },
        purchased(3),
    ];
    let mut journal = Vec::new();
    events.iter().for_each(|event| event.encode(&mut journal));
    journal
}

/// Every event alone, and all in one frame.
pub fn seeds() -> Vec<Vec<u8>> {
    let encoded = |event: &Event<'_>| {
        let mut out = Vec::new();
        event.encode(&mut out);
        out
    };
    let mut seeds: Vec<Vec<u8>> = all().iter().map(encoded).collect();
    seeds.push(seeds.concat());
    seeds
}
