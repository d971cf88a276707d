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

/// One event of every kind.
#[must_use]
pub fn all() -> Vec<Event<'static>> {
    let amount = |value| Amount::new(value).unwrap_or_default();
    let row = Row([7; 76]);
    let put = |role, key_index| Event::ChannelPut {
        role,
        voucher_key: [2; 20],
        payee: [3; 20],
        deposit: amount(1 << 80),
        settled: Amount::ZERO,
        close_at: 0,
        block: 1,
        key_index,
    };
    vec![
        put(Role::Payee, 0),
        put(Role::Payer, 4),
        Event::SessionOpened {
            channel: 0,
            session_id: [4; 16],
            infohash: [5; 20],
            price_mib: amount(1000),
            minimum_step: amount(1),
            prepay: amount(50),
        },
        Event::SessionClosed {
            session: 0,
            delivered_bytes: 5,
        },
        Event::Granted {
            session: 0,
            bytes: 1 << 20,
        },
        Event::VoucherAccepted { session: 0, row },
        Event::WrittenOff {
            session: 0,
            amount: amount(5),
        },
        Event::BudgetSet {
            infohash: [5; 20],
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
        Event::Signed { channel: 0, row },
        Event::Adopted { channel: 0, row },
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
