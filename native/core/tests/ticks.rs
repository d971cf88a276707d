//! Every status that `docs/spec/ticks.md` 7 gives the commands about ticks, in the order of their
//! checks, and what they do.

mod support;

use piecework_core::amount::{AMOUNT_MAX, Amount};
use piecework_core::ledger::Ledger;
use piecework_core::ledger::command::Role;
use piecework_core::ledger::event::Event;
use piecework_core::ledger::evolve::evolve;
use piecework_core::ledger::snapshot;
use piecework_core::ledger::state::State;
use piecework_core::records::command as at;
use piecework_core::records::outcome::outcome;
use piecework_core::records::row;
use piecework_core::tick_row::TickRow;
use piecework_core::voucher;
use support::*;

const KIB: u32 = 1024;

/// Channel 0 payee, channel 1 payer; session 0 on the first, session 1 on the second, both at 1024 a
/// MiB with a prepay of 300.
fn prepared(folder: &Folder) -> Ledger {
    let ledger = open(&folder.0, 1 << 20);
    let setup = [
        Put::payee(1).record(),
        Put::payer(1).record(),
        session_open(0, 1, 1, 1024, 500, 300),
        session_open(1, 2, 2, 1024, 500, 300),
        budget(2, 100_000),
    ];
    assert_eq!(commit(&ledger, &setup), ["ok"; 5]);
    ledger
}

/// Commits one record that is accepted and gives a field of its outcome.
fn after(ledger: &Ledger, record: Record, field: usize) -> u128 {
    let bytes = ledger.commit(&record, &[]).unwrap();
    assert_eq!(Outcome(&bytes).name(), "ok");
    Outcome(&bytes).amount(field)
}

fn ticked(ledger: &Ledger, record: Record) -> TickRow {
    let bytes = ledger.commit(&record, &[]).unwrap();
    assert_eq!(Outcome(&bytes).name(), "ok");
    Outcome(&bytes).tick_row().expect("a tick row follows")
}

fn chain(end: u8, amount: u128, unit: u128, length: u16) -> Foreign {
    Foreign {
        end,
        amount,
        unit,
        length,
    }
}

#[test]
fn tick_vouchers() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(one(&ledger, grant(0, 2 * MIB, 5000)), "ok");
    let of = |chain: &Foreign, count| tick_voucher(0, &chain.row(count), true);
    let first = chain(1, 100, 10, 40);
    assert_eq!(
        one(&ledger, tick_voucher(9, &first.row(0), true)),
        "unknown_session"
    );
    assert_eq!(
        one(&ledger, tick_voucher(1, &first.row(0), true)),
        "wrong_role"
    );
    let mut odd = of(&first, 0);
    odd[at::tick_voucher::VERIFIED] = 2;
    assert_eq!(one(&ledger, odd), "malformed");
    for (at, value) in [(24, 0u16), (24, 1025), (26, 41)] {
        let mut row = first.row(1);
        row.0[at..at + 2].copy_from_slice(&value.to_be_bytes());
        assert_eq!(
            one(&ledger, tick_voucher(0, &row, true)),
            "bad_range",
            "{value}"
        );
    }
    assert_eq!(one(&ledger, of(&chain(1, 100, 0, 40), 0)), "bad_range");
    assert_eq!(
        one(&ledger, of(&chain(1, AMOUNT_MAX - 399, 10, 40), 0)),
        "bad_range"
    );
    assert_eq!(
        one(&ledger, of(&chain(1, 1_000_001, 10, 40), 0)),
        "exceeds_deposit"
    );
    assert_eq!(
        one(&ledger, of(&chain(1, 2048, 10, 40), 31)),
        "exceeds_granted"
    );
    assert_eq!(
        one(&ledger, tick_voucher(0, &first.row(2), false)),
        "unverified"
    );
    assert_eq!(
        ledger
            .screen(&tick_voucher(0, &first.row(2), false), &[])
            .unwrap(),
        [0]
    );

    assert_eq!(after(&ledger, of(&first, 2), outcome::AUTHORIZED), 120);
    // The same root only has to claim more; another has to fold in all that was claimed.
    assert_eq!(one(&ledger, of(&first, 2)), "not_increasing");
    assert_eq!(
        one(&ledger, of(&chain(1, 100, 10, 41), 1)),
        "not_increasing"
    );
    assert_eq!(after(&ledger, of(&first, 5), outcome::AUTHORIZED), 150);
    let same_root_lower = Foreign {
        amount: 90,
        ..chain(1, 0, 10, 40)
    };
    assert_eq!(
        after(&ledger, of(&same_root_lower, 7), outcome::AUTHORIZED),
        160
    );
    assert_eq!(
        one(&ledger, of(&chain(2, 159, 10, 40), 30)),
        "not_increasing"
    );
    assert_eq!(
        after(&ledger, of(&chain(2, 160, 10, 40), 0), outcome::AUTHORIZED),
        160
    );
    // A plain voucher that claims as much ends the chain, and its ticks are worth nothing any more.
    let plain = |amount| voucher_of(0, &plain_row(amount), true, true);
    assert_eq!(one(&ledger, plain(159)), "not_increasing");
    assert_eq!(one(&ledger, plain(160)), "ok");
    assert_eq!(one(&ledger, plain(160)), "not_increasing");
    assert_eq!(one(&ledger, plain(161)), "ok");
    assert_eq!(
        one(&ledger, tick(0, 1, &chain(2, 160, 10, 40).tick(1))),
        "unknown_piece"
    );
    assert_eq!(
        one(&ledger, of(&chain(2, 160, 10, 40), 20)),
        "not_increasing"
    );
    // What is paid after all is no loss; a closed session takes what is late.
    assert_eq!(
        after(&ledger, write_off(0, 1500), outcome::UNPAID),
        2048 - 161 - 1500
    );
    assert_eq!(one(&ledger, session_close(0, 0)), "ok");
    assert_eq!(
        after(&ledger, of(&chain(3, 1000, 1, 9), 8), outcome::WRITTEN_OFF),
        2048 - 1008
    );
    assert_eq!(
        after(
            &ledger,
            tick(0, 9, &chain(3, 1000, 1, 9).tick(9)),
            outcome::WRITTEN_OFF
        ),
        2048 - 1009
    );
}

#[test]
fn ticks() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(one(&ledger, grant(0, MIB, 5000)), "ok");
    let chain = chain(1, 0, 100, 1024);
    let show = |count| tick(0, count, &chain.tick(count));
    assert_eq!(one(&ledger, show(1)), "unknown_piece");
    assert_eq!(one(&ledger, tick_voucher(0, &chain.row(0), true)), "ok");
    assert_eq!(one(&ledger, tick(9, 1, &[0; 32])), "unknown_session");
    assert_eq!(one(&ledger, tick(1, 1, &[0; 32])), "wrong_role");
    assert_eq!(one(&ledger, tick(0, 0, &[0; 32])), "not_increasing");
    assert_eq!(one(&ledger, tick(0, 1025, &[0; 32])), "bad_range");
    assert_eq!(one(&ledger, show(14)), "exceeds_granted");
    assert_eq!(one(&ledger, tick(0, 1, &chain.tick(2))), "bad_signature");
    let row = ticked(&ledger, show(1));
    assert_eq!(row, chain.row(1));
    let before = ledger.state_hash().unwrap();
    assert_eq!(
        ledger.screen(&[show(3), show(1)].concat(), &[]).unwrap(),
        [0, 12]
    );
    assert_eq!(ledger.state_hash().unwrap(), before);
    // Ticks may be skipped, and after that they lead to the newest.
    assert_eq!(
        commit(&ledger, &[show(7), show(5), show(8)]),
        ["ok", "not_increasing", "ok"]
    );
    assert_eq!(one(&ledger, tick(0, 9, &chain.tick(10))), "bad_signature");
    let lower = Put {
        deposit: 900,
        block: 2,
        ..Put::payee(1)
    };
    assert_eq!(one(&ledger, lower.record()), "ok");
    assert_eq!(one(&ledger, show(10)), "exceeds_deposit");
    assert_eq!(after(&ledger, show(9), outcome::AUTHORIZED), 900);
    let bytes = ledger.commit(&grant(0, 1, 5000), &[]).unwrap();
    assert_eq!(
        Outcome(&bytes).tick_row(),
        None,
        "only where the chain moved"
    );
}

#[test]
fn chains_open() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(one(&ledger, open_chain(9, 1, 1)), "unknown_session");
    assert_eq!(one(&ledger, open_chain(0, 1, 1)), "wrong_role");
    assert_eq!(one(&ledger, open_chain(1, 1, 0)), "bad_range");
    assert_eq!(one(&ledger, open_chain(1, 1, 1025)), "bad_range");
    assert_eq!(one(&ledger, open_chain(1, 0, 9)), "bad_range");
    assert_eq!(one(&ledger, open_chain(1, AMOUNT_MAX + 1, 9)), "malformed");
    assert_eq!(
        one(&ledger, open_chain(1, AMOUNT_MAX / 9 + 1, 9)),
        "overflow"
    );
    assert_eq!(one(&ledger, session_open(1, 7, 7, 1, 1, 1)), "ok");
    assert_eq!(
        one(&ledger, open_chain(2, 1, 9)),
        "exceeds_budget",
        "no budget"
    );

    // It is signed over nothing yet, and again over what is due.
    let row = ticked(&ledger, open_chain(1, 16, 64));
    assert_eq!(row, own_tick_row(1, &own_terms(0, 16, 64), 0));
    let before = ledger.state_hash().unwrap();
    assert_eq!(one(&ledger, open_chain(1, 16, 64)), "ok");
    assert_eq!(ledger.state_hash().unwrap(), before, "it already is");
    assert_eq!(
        commit(
            &ledger,
            &[purchase(1, 0, 512 * KIB), receive(1, 0, 512 * KIB)]
        ),
        ["ok"; 2]
    );
    let row = ticked(&ledger, open_chain(1, 16, 64));
    assert_eq!(row, own_tick_row(1, &own_terms(512, 16, 64), 0));
    let domain = voucher::domain_separator(CHAIN_ID, &HUB);
    let claim = [&own_key(1)[..], &PAYEE, &row.0].concat();
    assert_eq!(row::verify_ticks(&domain, &claim).unwrap(), [0]);
    let lower = Put {
        deposit: 511,
        block: 2,
        ..Put::payer(1)
    };
    assert_eq!(one(&ledger, lower.record()), "ok");
    assert_eq!(one(&ledger, open_chain(1, 16, 64)), "exceeds_deposit");
    assert_eq!(one(&ledger, session_close(1, 0)), "ok");
    assert_eq!(one(&ledger, open_chain(1, 16, 64)), "closed");
}

#[test]
fn reveals() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    let unit = 16;
    assert_eq!(one(&ledger, reveal(1, 1, 0)), "unknown_piece");
    assert_eq!(one(&ledger, open_chain(1, unit, 64)), "ok");
    assert_eq!(one(&ledger, reveal(9, 1, 0)), "unknown_session");
    assert_eq!(one(&ledger, reveal(0, 1, 0)), "wrong_role");
    assert_eq!(one(&ledger, reveal(1, 0, 0)), "not_increasing");
    assert_eq!(one(&ledger, reveal(1, 65, 0)), "bad_range");
    assert_eq!(
        one(&ledger, reveal(1, 1, 16)),
        "exceeds_granted",
        "nothing is reserved"
    );
    assert_eq!(one(&ledger, purchase(1, 0, 512 * KIB)), "ok");
    assert_eq!(one(&ledger, reveal(1, 1, 15)), "exceeds_granted");
    let terms = own_terms(0, unit, 64);
    assert_eq!(
        ticked(&ledger, reveal(1, 1, 16)),
        own_tick_row(1, &terms, 1)
    );
    assert_eq!(
        one(&ledger, reveal(1, 19, 9999)),
        "exceeds_granted",
        "beyond the prepay"
    );
    // The newest of a batch is what its outcomes show.
    let bytes = ledger
        .commit(&[reveal(1, 5, 80), reveal(1, 18, 300)].concat(), &[])
        .unwrap();
    for outcome in each(&bytes) {
        assert_eq!(outcome.name(), "ok");
        assert_eq!(outcome.tick_row(), Some(own_tick_row(1, &terms, 18)));
        assert_eq!(outcome.amount(outcome::AUTHORIZED), 288);
    }
    assert_eq!(one(&ledger, receive(1, 0, 512 * KIB)), "ok");
    assert_eq!(after(&ledger, reveal(1, 32, 0), outcome::AUTHORIZED), 512);
    let lower = Put {
        deposit: 511,
        block: 2,
        ..Put::payer(1)
    };
    assert_eq!(one(&ledger, purchase(1, 1, 512 * KIB)), "ok");
    assert_eq!(one(&ledger, lower.record()), "ok");
    assert_eq!(one(&ledger, reveal(1, 33, 16)), "exceeds_deposit");
}

/// Its ticks would be worthless, and would stand in the journal as if they were not.
#[test]
fn another_seed_opens_and_reveals_nothing() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    let setup = [
        open_chain(1, 16, 64),
        purchase(1, 0, 512 * KIB),
        reveal(1, 1, 16),
    ];
    assert_eq!(commit(&ledger, &setup), ["ok"; 3]);
    ledger.close().unwrap();
    let config = config(&folder.0, 1 << 20);
    for seed in [None, Some([9; 32])] {
        let (ledger, _) = Ledger::open(&config, seed).unwrap();
        assert_eq!(one(&ledger, reveal(1, 2, 32)), "bad_signature");
        assert_eq!(one(&ledger, open_chain(1, 16, 64)), "bad_signature");
        ledger.close().unwrap();
    }
}

#[test]
fn a_plain_voucher_ends_a_chain_within_its_batch() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    let setup = [
        purchase(1, 0, 512 * KIB),
        purchase(1, 1, 512 * KIB),
        open_chain(1, 16, 64),
        reveal(1, 4, 64),
    ];
    assert_eq!(commit(&ledger, &setup), ["ok"; 4]);
    // The payment raises what is authorized, so what follows in the batch finds no chain, as it would later.
    let batch = [
        reveal(1, 5, 80),
        pay(1, 0, 512 * KIB, 0),
        reveal(1, 40, 300),
        open_chain(1, 16, 64),
    ];
    let bytes = ledger.commit(&batch.concat(), &[]).unwrap();
    assert_eq!(outcomes(&bytes), ["ok", "ok", "unknown_piece", "ok"]);
    let last = each(&bytes).last().unwrap();
    assert_eq!(
        last.row(),
        None,
        "the chain is signed over what was to be signed"
    );
    assert_eq!(
        last.tick_row(),
        Some(own_tick_row(1, &own_terms(512, 16, 64), 0))
    );
    assert_eq!(one(&ledger, reveal(1, 1, 16)), "ok");
    let bytes = ledger.commit(&pay(1, 1, 512 * KIB, 0), &[]).unwrap();
    assert_eq!(Outcome(&bytes).row(), Some(own_row(1, 1024)));
    assert_eq!(one(&ledger, reveal(1, 2, 32)), "unknown_piece");
}

#[test]
fn a_sign_folds_a_chain_into_a_plain_voucher() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    let setup = [
        purchase(1, 0, 512 * KIB),
        open_chain(1, 16, 64),
        receive(1, 0, 512 * KIB),
        reveal(1, 32, 0),
    ];
    assert_eq!(commit(&ledger, &setup), ["ok"; 4]);
    // Ticks have paid all that is due: only the sign gives the payee what is cheap to redeem.
    let bytes = ledger
        .commit(&[sign(1, 0), reveal(1, 33, 0), sign(1, 0)].concat(), &[])
        .unwrap();
    assert_eq!(outcomes(&bytes), ["ok", "unknown_piece", "ok"]);
    for outcome in each(&bytes) {
        assert_eq!(outcome.row(), Some(own_row(1, 512)));
        assert_eq!(outcome.tick_row(), None);
    }
    let before = ledger.state_hash().unwrap();
    assert_eq!(one(&ledger, sign(1, 0)), "ok");
    assert_eq!(
        ledger.state_hash().unwrap(),
        before,
        "there is nothing to fold"
    );
    // A chain that is opened behind a sign stays, in one batch as in two.
    let row = own_tick_row(1, &own_terms(512, 16, 64), 0);
    assert_eq!(ticked(&ledger, open_chain(1, 16, 64)), row);
    let bytes = ledger
        .commit(&[sign(1, 0), open_chain(1, 16, 64)].concat(), &[])
        .unwrap();
    assert_eq!(each(&bytes).last().unwrap().tick_row(), Some(row));
    assert_eq!(
        one(&ledger, reveal(1, 1, 0)),
        "exceeds_granted",
        "the chain is current"
    );
}

#[test]
fn receipts_of_pieces() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(one(&ledger, receive(9, 0, 1)), "unknown_session");
    assert_eq!(one(&ledger, receive(0, 0, 1)), "wrong_role");
    assert_eq!(one(&ledger, receive(1, 0, 1)), "unknown_piece");
    assert_eq!(
        commit(
            &ledger,
            &[purchase(1, 0, 512 * KIB), purchase(1, 1, 512 * KIB)]
        ),
        ["ok"; 2]
    );
    assert_eq!(one(&ledger, receive(1, 0, 511 * KIB)), "unknown_piece");
    let bytes = ledger.commit(&receive(1, 0, 512 * KIB), &[]).unwrap();
    let booked = Outcome(&bytes);
    assert_eq!(
        (booked.name(), booked.row(), booked.tick_row()),
        ("ok", None, None)
    );
    assert_eq!(booked.amount(outcome::DUE), 512);
    assert_eq!(booked.amount(outcome::RESERVED), 512);
    assert_eq!(booked.amount(outcome::AUTHORIZED), 0);
    assert_eq!(one(&ledger, receive(1, 0, 512 * KIB)), "unknown_piece");
    let bytes = ledger.commit(&sign(1, 0), &[]).unwrap();
    assert_eq!(
        Outcome(&bytes).row(),
        Some(own_row(1, 512)),
        "a voucher pays later"
    );
    let lower = Put {
        deposit: 1023,
        block: 2,
        ..Put::payer(1)
    };
    assert_eq!(one(&ledger, lower.record()), "ok");
    assert_eq!(one(&ledger, receive(1, 1, 512 * KIB)), "exceeds_deposit");
}

#[test]
fn adoption_of_ticks() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    let terms = own_terms(100, 16, 64);
    let row = |count| own_tick_row(1, &terms, count);
    assert_eq!(one(&ledger, adopt_ticks(9, &row(1))), "unknown_channel");
    assert_eq!(one(&ledger, adopt_ticks(0, &row(1))), "wrong_role");
    let long = own_tick_row(1, &own_terms(100, 16, 1025), 0);
    assert_eq!(one(&ledger, adopt_ticks(1, &long)), "bad_range");
    let dear = own_tick_row(1, &own_terms(1_000_000, 16, 64), 1);
    assert_eq!(one(&ledger, adopt_ticks(1, &dear)), "exceeds_deposit");
    assert_eq!(
        one(&ledger, adopt_ticks(1, &own_tick_row(2, &terms, 1))),
        "bad_signature"
    );
    assert_eq!(
        one(&ledger, adopt_ticks(1, &row(1).with_tick(2, &[0; 32]))),
        "bad_signature"
    );
    assert_eq!(
        after(&ledger, adopt_ticks(1, &row(3)), outcome::AUTHORIZED),
        148
    );
    assert_eq!(one(&ledger, adopt_ticks(1, &row(3))), "not_increasing");
    // The chain goes on where the earlier life left it: its end comes from the seed and the row.
    assert_eq!(one(&ledger, purchase(1, 0, 512 * KIB)), "ok");
    assert_eq!(ticked(&ledger, reveal(1, 5, 300)), row(5));
    assert_eq!(one(&ledger, adopt(1, &own_row(1, 180))), "not_increasing");
    assert_eq!(one(&ledger, adopt(1, &own_row(1, 181))), "ok");
    assert_eq!(one(&ledger, reveal(1, 6, 300)), "unknown_piece");
    assert_eq!(one(&ledger, adopt_ticks(1, &row(6))), "ok");
}

#[test]
fn what_was_revealed_ahead_and_lost_stays_in_the_budget() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(
        commit(&ledger, &[budget(2, 512), purchase(1, 0, 512 * KIB)]),
        ["ok"; 2]
    );
    assert_eq!(
        commit(&ledger, &[open_chain(1, 16, 64), reveal(1, 10, 160)]),
        ["ok"; 2]
    );
    assert_eq!(commit(&ledger, &[abandon(1, 0)]), ["ok"]);
    assert_eq!(one(&ledger, budget(2, 159)), "exceeds_budget");
    // In this channel it buys again without costing more; ticks over it go on only when it is due.
    assert_eq!(one(&ledger, purchase(1, 0, 512 * KIB)), "ok");
    assert_eq!(one(&ledger, reveal(1, 11, 160)), "exceeds_granted");
    assert_eq!(one(&ledger, receive(1, 0, 512 * KIB)), "ok");
    assert_eq!(one(&ledger, reveal(1, 32, 0)), "ok");
    assert_eq!(one(&ledger, reveal(1, 33, 0)), "exceeds_granted");
}

#[test]
fn an_event_with_a_tick_of_elsewhere_does_not_fit() {
    let chain = chain(1, 0, 100, 40);
    let put = Event::ChannelPut {
        role: Role::Payee,
        voucher_key: [1; 20],
        payee: [2; 20],
        deposit: Amount::ZERO,
        settled: Amount::ZERO,
        close_at: 0,
        block: 1,
        key_index: 0,
    };
    let row = chain.row(3);
    let set = Event::ChainSet { channel: 0, row };
    let ticked = |count, of| Event::Ticked {
        channel: 0,
        count,
        tick: chain.tick(of),
    };
    let mut state = State::default();
    for event in [put, set, ticked(5, 5)] {
        assert!(evolve(&mut state, &event).is_ok());
    }
    for (count, of) in [(6, 7), (7, 6), (5, 5), (4, 4)] {
        assert!(evolve(&mut state, &ticked(count, of)).is_err());
    }
    // What did fit can be written and read.
    let mut bytes = Vec::new();
    snapshot::write(&state, &mut bytes).unwrap();
    assert!(snapshot::read(&mut &bytes[..], bytes.len() as u64, true).is_ok());
}
