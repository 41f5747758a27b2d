//! What the file says of itself, and the tables that it has.

use super::fault::Fault;
use super::tables::{
    ARRIVALS, COPIES, Counters, DOOMED, ENTITIES, FACTS, INSTANCES, KEYS, META, MOVES, NAMES,
    NOTES, RECEIVED, SOPS,
};
use crate::index::IndexError;
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};

/// What the file says of itself.
pub(super) fn read_state(database: &Database) -> Result<Counters, Fault> {
    let damaged = IndexError::Damaged {
        what: "state of the index",
    };
    let meta = database.begin_read()?.open_table(META)?;
    let state = meta.get("state")?.ok_or(damaged)?;
    Ok(Counters::decode(state.value())?)
}

/// Reads in a transaction of its own, whose last page is let go of before it ends. Of a transaction
/// alone redb drops the end first: a commit may free that page in between, which a build with
/// assertions takes for a fault.
pub(super) fn reading<T>(
    database: &Database,
    read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let transaction = database.begin_read()?;
    let held_longest = transaction.open_table(META)?;
    let found = read(&transaction);
    drop(transaction);
    drop(held_longest);
    found
}

pub(super) fn put_state(
    transaction: &WriteTransaction,
    counters: Counters,
) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    meta.insert("state", counters.encode().as_slice())?;
    Ok(())
}

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    for table in [ENTITIES, INSTANCES, SOPS] {
        transaction.open_table(table)?;
    }
    for table in [ARRIVALS, MOVES, NAMES] {
        transaction.open_table(table)?;
    }
    transaction.open_table(KEYS)?;
    create_tables_of_notes(transaction)?;
    create_tables_of_erasing(transaction)?;
    put_state(transaction, Counters::default())
}

fn create_tables_of_notes(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(NOTES)?;
    transaction.open_table(FACTS)?;
    transaction.open_table(RECEIVED)?;
    Ok(())
}

fn create_tables_of_erasing(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(COPIES)?;
    transaction.open_table(DOOMED)?;
    Ok(())
}

/// Adds the tables that a file of an earlier program does not have.
pub(super) fn add_tables(database: &Database) -> Result<(), Fault> {
    let reading = database.begin_read()?;
    let is_new = |error| matches!(error, redb::TableError::TableDoesNotExist(_));
    let has_notes = !reading.open_table(RECEIVED).is_err_and(is_new);
    let has_erasing = !reading.open_table(DOOMED).is_err_and(is_new);
    if has_notes && has_erasing {
        return Ok(());
    }
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::None)?;
    create_tables_of_notes(&transaction)?;
    create_tables_of_erasing(&transaction)?;
    Ok(transaction.commit()?)
}
