//! Snapshots and replay: what is read as a state writes the very bytes it was read from, and a state that events
//! lead to, whatever the events, is one that can be written and read.

use std::hint::black_box;

use piecework_core::ledger::event::Event;
use piecework_core::ledger::evolve::evolve;
use piecework_core::ledger::snapshot;
use piecework_core::ledger::state::State;
use piecework_core::records::read::{Table, read, summarize};

use crate::{Seen, events, journal};

/// The first byte says whether the rest is a snapshot or a journal of events.
pub fn run(data: &[u8]) -> Seen {
    match data.split_first() {
        Some((way, rest)) if way & 1 == 1 => replay(rest),
        Some((_, rest)) => whole(rest),
        None => Seen::one(false),
    }
}

fn whole(data: &[u8]) -> Seen {
    let mut input = data;
    let Ok(state) = snapshot::read(&mut input, data.len() as u64, true) else {
        return Seen::one(false);
    };
    assert_eq!(bytes_of(&state), data[..data.len() - input.len()]);
    look(&state);
    Seen::one(true)
}

/// Applies events up to the first that does not fit, which leaves a state that is not to be used.
fn replay(data: &[u8]) -> Seen {
    let mut fitting = 0;
    let mut broken = State::default();
    let mut input = data;
    while let Some(event) = Event::decode(&mut input) {
        if evolve(&mut broken, &event).is_err() {
            break;
        }
        fitting += 1;
    }
    let mut state = State::default();
    let mut input = data;
    for _ in 0..fitting {
        let event = Event::decode(&mut input).expect("it was decoded before");
        evolve(&mut state, &event).expect("it fitted before");
    }
    let bytes = bytes_of(&state);
    let again = snapshot::read(&mut &bytes[..], bytes.len() as u64, true)
        .expect("events keep a state sound");
    assert_eq!(bytes_of(&again), bytes);
    look(&again);
    Seen::one(fitting > 0)
}

fn bytes_of(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot::write(state, &mut bytes).expect("memory takes all");
    bytes
}

/// Reads everything in every way.
fn look(state: &State) {
    for table in [
        Table::Channels,
        Table::Sessions,
        Table::Outstanding,
        Table::Budgets,
        Table::Notes,
    ] {
        black_box(read(state, table, 0, usize::MAX));
    }
    black_box(summarize(state, 0, false));
}

/// The states of folders that ledgers left, and events that follow each other.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = journal::snapshots()
        .map(|bytes| [&[0], bytes].concat())
        .collect();
    let mut journal = vec![1];
    for event in events::all() {
        event.encode(&mut journal);
        seeds.push(journal.clone());
    }
    seeds.push([&[1][..], &events::life()].concat());
    seeds
}
