//! The cases of [`Index`](pacs_store::index::Index), one function each, and the macro that makes
//! tests of them.

mod changing;
mod computed;
mod erasing;
mod hiding;
mod noting;
mod paging;
mod patients;
mod receiving;
mod searching;
mod staging;

pub use changing::*;
pub use computed::*;
pub use erasing::*;
pub use hiding::*;
pub use noting::*;
pub use paging::*;
pub use patients::*;
pub use receiving::*;
pub use searching::*;
pub use staging::*;

/// Emits a module `$name` with one test for each case.
///
/// `$make` is called for each test and gives a fresh, empty index and something that is kept until
/// the test ends, such as its folder: `fn() -> (Arc<dyn Index>, impl Any)`.
#[macro_export]
macro_rules! index_conformance {
    ($name:ident, $make:expr) => {
        $crate::emit_cases! { $name, $make, index_cases:
            a_conflict_in_another_study_does_not_show_there
            a_commit_without_proof_of_its_content_is_refused
            a_dropped_group_leaves_nothing
            a_promised_group_is_seen_by_whoever_reads_after_the_promise
            a_promise_that_is_not_kept_is_not_taken_for_an_empty_index
            a_group_may_hide_what_it_brings
            a_hidden_study_that_gets_more_shows_only_that
            a_key_longer_than_any_index_key_is_found
            a_limit_is_for_more_than_it_not_for_as_many
            a_note_that_is_taken_back_leaves_what_was_received
            a_note_waits_for_its_study
            a_noted_study_is_found_by_what_is_noted_alone
            a_page_after_a_result_is_not_moved_by_what_arrives
            a_page_after_what_is_not_there_is_none
            a_patient_shows_while_one_of_its_studies_does
            a_patient_without_id_is_known_by_name_and_birth_date
            a_patients_attributes_are_those_of_its_first_study
            a_relational_query_needs_no_keys_of_levels_above
            a_series_has_the_attributes_of_its_first_instance
            a_series_uid_in_two_studies_is_two_series
            a_staged_group_is_invisible_until_it_is_committed
            a_study_has_the_attributes_of_its_first_instance
            an_empty_index_answers_with_nothing
            an_erased_study_is_no_more_and_what_comes_of_it_is_new
            an_erased_version_makes_way_for_that_of_another_study
            an_organisation_finds_what_it_sees_and_nothing_else
            changes_can_be_read_in_pieces
            changes_have_no_gaps_and_say_what_happened
            content_that_is_destroyed_takes_its_place_and_is_not_known
            clearing_forgets_what_was_noted
            content_of_every_version_is_known
            conflicts_are_numbered_from_two
            counts_follow_what_is_hidden_and_restored
            date_ranges_are_inclusive_and_may_be_open
            each_level_finds_its_entities
            entries_give_every_version_in_order_of_arrival
            equal_content_again_changes_nothing
            hiding_a_series_or_study_hides_all_that_is_in_it
            hiding_several_instances_moves_those_of_the_study
            hiding_what_is_hidden_or_unknown_moves_nothing
            hiding_within_a_study_leaves_the_same_uids_of_others
            lists_of_uids_find_each
            matching_a_computed_key_works
            modalities_and_classes_are_those_of_visible_series
            notes_make_studies_one_patients
            nothing_is_left_after_a_clear_and_a_replay_gives_it_back
            one_group_may_bring_an_instance_twice
            other_content_is_kept_and_the_first_is_served
            pages_of_a_search_are_the_whole_newest_study_first
            results_beyond_the_memory_for_them_are_refused_and_take_none_of_it
            results_carry_only_what_was_asked_and_the_unique_keys
            results_come_in_order_of_study_series_and_arrival
            select_gives_instances_as_they_were_stored
            select_serves_every_level
            sequences_and_suspect_text_come_back_as_they_were
            studies_of_one_id_and_issuer_are_one_patient
            the_durable_position_is_that_of_the_last_flush_or_later
            the_last_change_and_the_end_of_the_log_are_told_together
            the_same_content_does_not_bring_back_what_is_hidden
            versions_of_an_instance_are_told_hidden_or_not
            what_is_erased_is_doomed_until_it_is_destroyed
            wildcards_find_by_beginning_and_by_middle
        }
    };
}

/// Not for use outside this crate's macros.
#[doc(hidden)]
#[macro_export]
macro_rules! emit_cases {
    ($name:ident, $make:expr, $cases:ident: $($case:ident)*) => {
        mod $name {
            use super::*;
            $(
                #[test]
                fn $case() {
                    let runtime = $crate::tokio::runtime::Builder::new_multi_thread()
                        .worker_threads(1)
                        .enable_all()
                        .build()
                        .unwrap();
                    let (subject, _keep) = $make();
                    runtime.block_on($crate::$cases::$case(subject));
                }
            )*
        }
    };
}

#[cfg(test)]
mod tests {
    /// A case that is not in the macro would be run by nobody.
    #[test]
    fn every_case_is_in_the_macro() {
        let list = include_str!("index_cases.rs");
        let list = list.split("#[doc(hidden)]").next().unwrap();
        let cases = [
            include_str!("index_cases/changing.rs"),
            include_str!("index_cases/computed.rs"),
            include_str!("index_cases/erasing.rs"),
            include_str!("index_cases/hiding.rs"),
            include_str!("index_cases/noting.rs"),
            include_str!("index_cases/paging.rs"),
            include_str!("index_cases/patients.rs"),
            include_str!("index_cases/receiving.rs"),
            include_str!("index_cases/searching.rs"),
            include_str!("index_cases/staging.rs"),
        ];
        let mut cases_count = 0;
        for line in cases.iter().flat_map(|file| file.lines()) {
            if let Some(rest) = line.strip_prefix("pub async fn ") {
                let name = rest.split('(').next().unwrap();
                assert!(list.contains(&format!(" {name}\n")), "{name}");
                cases_count += 1;
            }
        }
        assert_eq!(cases_count, 62);
    }
}
