"""Section 1: registers to intervals, and how the cleaning decides."""

from energy_etl_tests.energy_rules import Rule, within

CLEANING = "transform/test_cleaning"
STORY = "transform/test_cleaning_story"
REGISTERS = "transform/test_registers"
TOTALS = "transform/test_registers_totals"
MEANS = "transform/test_registers_means"
POWER = "transform/test_registers_power"
PROPERTIES = "transform/test_registers_properties"
BY_HAND = "transform/test_manual_edits"
EXCHANGES = "transform/test_exchanges"
FINDINGS = "transform/test_findings"
CALENDAR = "transform/test_calendar"

NOT_OF_THE_SET = (
    "It tells how a reading arrived: the same readings loaded day by day, backwards or at once "
    "give the same intervals, and a value that repeats the newest version is not even stored."
)

REGISTER_RULES = (
    Rule(
        1,
        "Zeros between good readings are no resets, however many there are.",
        (
            *within(
                CLEANING,
                "zeros_between_good_readings_are_dropped",
                "zero_glitches_on_every_second_reading_leave_all_the_others",
            ),
            *within(REGISTERS, "zero_glitches_are_flagged_once_each_and_split_evenly"),
        ),
    ),
    Rule(
        1,
        "A high reading that both sides contradict is dropped and poisons nothing after it.",
        within(
            CLEANING,
            "false_high_is_dropped_and_what_follows_is_not_poisoned",
            "three_false_highs_in_a_row_are_dropped",
            "false_reading_at_the_very_start_is_dropped",
        ),
    ),
    Rule(
        1,
        "A low reading that both sides contradict is dropped and is no reset.",
        within(
            CLEANING,
            "false_low_is_dropped_and_is_no_reset",
            "three_false_lows_in_a_row_are_dropped_and_are_no_reset",
            "false_low_with_known_digits_is_no_rollover",
        ),
    ),
    Rule(
        1,
        "A reset falls to at most half and within the rating, and a second reading confirms it.",
        (
            *within(
                CLEANING,
                "reset_that_goes_on_is_kept",
                "reset_seen_once_waits_for_a_second_reading",
                "two_resets_are_two_resets",
            ),
            *within(
                STORY,
                "fall_is_a_reset_only_to_half_and_within_the_rating",
                "single_trailing_fall_is_dropped_and_two_are_a_reset",
            ),
        ),
    ),
    Rule(
        1,
        "After a reset the new value counts; what was used before it is not invented.",
        (
            *within(CLEANING, "zeros_after_a_reset_are_given_back"),
            *within(REGISTERS, "reset_across_a_gap_invents_nothing"),
        ),
    ),
    Rule(
        1,
        "An unexplained change of level that stays has no energy, and is a finding.",
        (
            *within(CLEANING, "fall_that_stays_is_a_change_of_level_without_energy"),
            *within(REGISTERS, "change_of_level_is_implausible_null_and_held"),
            *within(FINDINGS, "each_level_change_is_found_with_its_span_and_evidence"),
        ),
    ),
    Rule(
        1,
        "A rollover needs known digits and a plausible step.",
        (
            *within(
                CLEANING,
                "rollover_with_known_digits_is_kept",
                "rollover_through_an_exact_zero_is_kept",
                "counter_above_its_declared_digits_never_rolls_over",
                "fall_of_a_counter_that_never_grew_is_no_rollover",
            ),
            *within(STORY, "fall_is_a_rollover_only_within_the_rating"),
            *within(REGISTERS, "rollover_over_several_intervals_wraps_once"),
        ),
    ),
    Rule(
        1,
        "A meter exchange comes from a declaration with final and initial value only.",
        (
            *within(
                REGISTERS,
                "declared_exchange_joins_both_counters",
                "exchange_at_an_edge_flags_the_interval_after_it",
                "exchange_that_has_not_happened_yet_changes_nothing",
                "exchange_before_the_first_reading_invents_no_interval",
            ),
            *within(
                EXCHANGES,
                "exchange_that_contradicts_the_one_before_is_ignored_and_found",
                "rest_is_computed_beside_overlapping_exchanges",
            ),
        ),
    ),
    Rule(
        1,
        "Of a small dip the net growth counts, never negative energy.",
        (
            *within(CLEANING, "dip_is_dropped_and_not_its_neighbour"),
            *within(STORY, "of_two_equal_stories_the_larger_predecessor_is_kept"),
            *within(PROPERTIES, "any_mix_of_faults_conserves_energy"),
        ),
    ),
    Rule(
        1,
        "Readings are sorted by instant before they are subtracted, whenever they came.",
        (
            *within(REGISTERS, "register_vectors_give_their_energy_intervals_and_flags"),
            *within(PROPERTIES, "order_and_repeats_of_readings_are_irrelevant"),
        ),
    ),
    Rule(
        1,
        "The newest version of a reading wins, says so, and the earlier ones are kept.",
        (
            *within(REGISTERS, "highest_version_wins_and_is_flagged"),
            *within(
                "warehouse/test_writing",
                "corrected_reading_becomes_a_second_version_and_the_first_stays",
            ),
        ),
    ),
    Rule(
        1,
        "A reading that comes twice counts once.",
        (
            *within(PROPERTIES, "order_and_repeats_of_readings_are_irrelevant"),
            *within("warehouse/test_writing", "equal_readings_add_nothing_also_nan_and_null"),
        ),
    ),
    Rule(
        1,
        "The total across a gap is measured, its split is an estimate and says so.",
        within(
            REGISTERS,
            "gap_is_estimated_and_its_total_is_kept",
            "register_vectors_give_their_energy_intervals_and_flags",
            "hourly_source_on_a_quarter_hour_grid_is_estimated",
        ),
    ),
    Rule(
        1,
        "Negative, missing, NaN and impossibly large readings are dropped by name.",
        (
            *within(CLEANING, "unusable_values_are_named_and_dropped"),
            *within(TOTALS, "impossible_totals_are_null_and_named"),
            *within(PROPERTIES, "any_values_give_rows_and_never_an_exception"),
        ),
    ),
    Rule(
        1,
        "Missing is null and never 0.",
        (
            *within(TOTALS, "interval_without_a_total_is_missing_and_never_zero"),
            *within(POWER, "hole_in_power_is_missing_and_no_zero"),
        ),
    ),
    Rule(
        1,
        "Mains at exactly 0 for three hours are an outage filled with zeros, and become missing.",
        (
            *within(
                TOTALS,
                "three_hours_of_zeros_on_mains_are_missing",
                "zeros_for_less_than_three_hours_are_zeros",
                "zeros_of_mains_beside_production_are_zeros",
                "zeros_of_a_submeter_or_of_gas_are_zeros",
            ),
            *within(
                MEANS,
                "three_hours_of_zero_power_on_mains_are_missing",
                "refit_outage_filled_with_zeros_is_missing_and_shares_over_it_are_null",
            ),
        ),
    ),
    Rule(
        1,
        "A mains counter that stands still was read; it is flagged as stuck after three hours.",
        within(
            REGISTERS,
            "mains_that_stand_still_are_measured_and_stuck",
            "mains_beside_production_may_stand_still",
        ),
    ),
    Rule(
        1,
        "One non-zero value for three intervals on mains is flagged as stuck.",
        (
            *within(TOTALS, "same_value_three_times_on_mains_is_stuck"),
            *within(MEANS, "power_of_mains_that_does_not_move_is_flagged_stuck_and_kept"),
        ),
    ),
    Rule(
        1,
        "A step above the declared rating is not believed.",
        (
            *within(CLEANING, "rise_above_the_rating_that_stays_is_a_change_of_level"),
            *within(STORY, "single_trailing_rise_above_the_rating_is_dropped"),
            *within(TOTALS, "impossible_totals_are_null_and_named"),
            *within(POWER, "spike_of_momentary_power_beyond_the_rating_became_energy"),
        ),
    ),
    Rule(
        1,
        "Without a rating growth beyond 20 times the usual is suspect and kept, no default drops.",
        (
            *within(CLEANING, "rise_without_a_rating_is_kept_and_suspect"),
            *within(REGISTERS, "suspect_growth_is_kept_flagged_and_named"),
            *within(TOTALS, "total_without_a_rating_is_only_suspect"),
            *within(POWER, "momentary_power_far_beyond_the_usual_was_neither_flagged_nor_told"),
            *within(FINDINGS, "suspect_growth_counted_and_nobody_was_told"),
        ),
    ),
    Rule(
        1,
        "What is usual is judged without the steps that readings near them contradict.",
        within(CLEANING, "rate_seen_leaves_out_the_return_from_a_false_low"),
    ),
    Rule(
        1,
        "The sum of the intervals is the true growth of the register.",
        (
            *within(
                PROPERTIES,
                "any_mix_of_faults_conserves_energy",
                "readings_at_any_instant_conserve_energy",
            ),
            *within(
                REGISTERS,
                "opsd_house_gives_the_expected_daily_energy",
                "register_vectors_give_their_energy_intervals_and_flags",
            ),
            *within(
                MEANS,
                "ampds2_register_grows_by_what_its_power_integrates_to",
            ),
        ),
    ),
    Rule(
        1,
        "Readings are never changed; an edit is one row per run of them, with its evidence.",
        (
            *within(REGISTERS, "run_of_dropped_readings_is_one_edit"),
            *within(
                "defs/test_core_assets",
                "stream_and_manual_edits_added_later_count_without_new_readings",
            ),
        ),
    ),
    Rule(
        1,
        "A person overrules the cleaning, and each decision is recorded with its reason.",
        within(
            BY_HAND,
            "dropped_readings_are_as_if_they_had_not_come",
            "kept_reading_is_never_dropped_and_its_steps_are_what_the_values_say",
            "replaced_reading_counts_and_both_steps_beside_it_say_so",
            "totals_are_dropped_kept_and_replaced",
            "decision_that_nothing_came_of_is_found_with_place_and_next_step",
        ),
    ),
    Rule(
        1,
        "Everything derived is built again from what was received.",
        within(
            "defs/test_main_job",
            "main_job_of_five_vendors_again_and_rebuilt_gives_the_same_tables",
        ),
    ),
    Rule(
        1,
        "Each row has one quality and the flags of what happened.",
        (
            *within(PROPERTIES, "any_values_give_rows_and_never_an_exception"),
            *within(REGISTERS, "register_vectors_give_their_energy_intervals_and_flags"),
        ),
    ),
    Rule(1, "Flag late: a reading came after a later one.", (), NOT_OF_THE_SET),
    Rule(1, "Flag duplicate: a reading came twice.", (), NOT_OF_THE_SET),
    Rule(
        1,
        "Leaving a reading out must make a simpler story: the prices hold near each other.",
        (
            *within(
                STORY,
                "two_holes_are_never_merged_across_a_good_reading",
                "readings_that_fall_back_are_dropped_and_nothing_else",
                "six_readings_confirm_a_new_level",
            ),
            *within(
                CLEANING,
                "glitches_close_together_never_merge_across_good_readings",
                "upward_jump_is_not_absorbed_by_dropping_readings_beside_it",
            ),
            *within(PROPERTIES, "cleaning_what_was_kept_drops_nothing_more"),
        ),
    ),
    Rule(
        1,
        "A stretch of another register's readings is dropped when the counter goes on after it.",
        (
            *within(CLEANING, "wrongly_mapped_register_for_days_is_dropped_whole"),
            *within(
                STORY,
                "segment_that_returns_is_dropped_whatever_its_length",
                "segment_with_more_readings_than_its_neighbours_stays",
            ),
        ),
    ),
    Rule(
        1,
        "Zeros at a start or after a reset are given back; a register of zeros keeps them.",
        within(
            CLEANING,
            "zeros_at_the_start_are_given_back_when_growth_follows",
            "zero_at_the_start_of_a_full_counter_is_a_glitch",
            "zeros_after_a_reset_are_given_back",
            "register_of_zeros_only_keeps_them",
            "zeros_at_the_end_stay_provisional",
        ),
    ),
    Rule(
        1,
        "A rating that is too low loses hardly a reading, and the changes of level tell of it.",
        (
            *within(CLEANING, "rating_that_is_too_low_drops_almost_nothing"),
            *within(FINDINGS, "more_than_three_level_changes_point_at_the_rating"),
        ),
    ),
    Rule(
        1,
        "Known limits: a sag that does not fall, and a last high reading within the rating.",
        within(
            CLEANING,
            "sag_that_does_not_fall_moves_energy_to_its_neighbour_and_keeps_the_total",
            "false_high_within_the_rating_at_the_end_goes_with_the_next_reading",
        ),
    ),
    Rule(
        1,
        "Intervals lie on the configured grid in UTC, and local midnights of every zone on it.",
        within(REGISTERS, "local_midnight_is_an_edge_in_every_zone"),
    ),
    Rule(
        1,
        "An edge without a reading is interpolated, and the flag says so when none lies near.",
        within(
            REGISTERS,
            "readings_beside_the_edges_are_interpolated_and_flagged",
            "reading_a_minute_from_the_edge_counts_as_read",
        ),
    ),
    Rule(
        1,
        "Coverage counts what was measured, not what was estimated.",
        within(CALENDAR, "estimated_intervals_count_as_energy_but_not_as_coverage"),
    ),
    Rule(
        1,
        "A stream may be coarser than the grid and never finer.",
        within(
            "vendors/wattics/test_packets",
            "a_coarser_stream_takes_the_register_at_its_own_stamps",
            "a_stream_that_does_not_fit_its_register_is_named",
        ),
    ),
    Rule(
        1,
        "The newest intervals are provisional until confirmed or held long enough, and not sent.",
        (
            *within(
                REGISTERS,
                "newest_intervals_are_provisional_until_a_second_reading_or_hold_for",
                "trailing_gap_is_provisional_as_a_whole",
            ),
            *within("vendors/wattics/test_packets", "rows_that_may_not_be_delivered_are_holes"),
        ),
    ),
    Rule(
        1,
        "Any order of partitions gives the same tables.",
        within(
            "defs/test_main_job", "partitions_in_random_order_with_overlaps_give_the_same_tables"
        ),
    ),
    Rule(
        1,
        "Sources that send totals or mean powers, stamped at start or end, give the same energy.",
        (
            *within(
                TOTALS,
                "start_stamped_totals_begin_at_their_stamp",
                "end_stamped_totals_end_at_their_stamp",
                "energy_of_totals_is_conserved_at_any_step_stamp_zone_and_order_of_arrival",
                "steel_plant_with_end_stamps_gives_its_hourly_and_daily_sums",
            ),
            *within(MEANS, "mean_power_times_its_interval_is_energy_and_said_to_be_integrated"),
        ),
    ),
)
