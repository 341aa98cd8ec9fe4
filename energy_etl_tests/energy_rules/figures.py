"""Sections 2 to 6: time, trends, coverage, disaggregation and peers, electrical readings."""

from energy_etl_tests.energy_rules import Rule, within

TOTALS = "transform/test_registers_totals"
CALENDAR = "transform/test_calendar"
HOURS = "transform/test_calendar_hours"
PERIODS = "test_periods"
TRENDS = "transform/test_trends"
SAVINGS = "transform/test_savings"
SCORES = "transform/test_disaggregation_scores"
TOTAL_SCORES = "transform/test_disaggregation_total"
SHARES = "transform/test_disaggregation"
PEERS = "transform/test_peers"
ELECTRICAL = "transform/test_electrical"

TIME_RULES = (
    Rule(
        2,
        "Instants are stored and queried in UTC.",
        within("warehouse/test_store", "instants_come_back_in_utc_and_queries_count_days_in_utc"),
    ),
    Rule(
        2,
        "A local day runs from its first instant to that of the next date: 23 to 25 hours.",
        (
            *within(
                PERIODS,
                "a_local_day_around_a_clock_change_has_its_real_length",
                "midnight_that_happens_twice_begins_the_day_the_first_time",
                "days_of_any_zone_partition_time",
            ),
            *within(
                CALENDAR,
                "a_day_with_a_clock_change_holds_its_real_intervals",
                "a_date_that_the_zone_left_out_has_no_row",
            ),
        ),
    ),
    Rule(
        2,
        "Hours of the wall partition the day in any zone.",
        within(HOURS, "hours_partition_the_days_of_any_zone_in_energy_and_intervals"),
    ),
    Rule(
        2,
        "Whether a source stamps start or end of an interval is known per register.",
        within(
            TOTALS,
            "start_stamped_totals_begin_at_their_stamp",
            "end_stamped_totals_end_at_their_stamp",
            "steel_plant_with_end_stamps_gives_its_hourly_and_daily_sums",
        ),
    ),
    Rule(
        2,
        "An unknown zone is an error that names it.",
        within(PERIODS, "an_unknown_zone_is_a_configuration_error_that_names_it"),
    ),
)

TREND_RULES = (
    Rule(
        3,
        "The six periods have the windows of the table, in complete local days.",
        within(
            PERIODS,
            "each_period_seen_from_a_wednesday_has_the_windows_of_the_rules",
            "windows_of_any_day_hold_complete_days_only_and_follow_each_other",
            "january_looks_back_into_the_year_before",
        ),
    ),
    Rule(
        3,
        "The worked example: 169 against 168 hours, and 649 against 648.",
        within(
            PERIODS,
            "worked_example_of_last_week_has_169_against_168_hours",
            "worked_example_of_this_month_has_649_against_648_hours",
        ),
    ),
    Rule(
        3,
        "This month is compared with the same elapsed part, capped at its end.",
        within(PERIODS, "this_month_longer_than_the_month_before_is_compared_with_all_of_it"),
    ),
    Rule(
        3,
        "An empty window is null and not 0.",
        (
            *within(PERIODS, "a_period_without_a_complete_day_is_none_throughout"),
            *within(TRENDS, "this_week_on_a_monday_is_null_and_not_zero"),
        ),
    ),
    Rule(
        3,
        "A trend needs something before it and 95 % of either window.",
        within(
            TRENDS,
            "nothing_used_before_gives_no_trend",
            "below_95_percent_of_either_window_there_is_no_trend",
            "days_before_the_first_interval_count_as_expected",
        ),
    ),
    Rule(
        3,
        "Beside the trend stands that of the mean per hour, free of unequal lengths.",
        within(
            TRENDS,
            "march_against_february_is_10_6_percent_at_flat_load_and_0_per_hour",
            "flat_load_over_a_clock_change_grows_only_by_its_length",
        ),
    ),
    Rule(
        3,
        "The vendor's trend stands beside ours, and the data tells which variant it uses.",
        (
            *within(TRENDS, "the_vendors_figure_stands_beside_the_mains_register_of_its_meter"),
            *within(
                "transform/test_trend_variant",
                "planted_variant_is_found_from_one_fetch_on_an_ordinary_weekday",
                "on_a_monday_that_is_a_first_only_today_can_be_told_and_the_verdict_says_so",
            ),
        ),
    ),
    Rule(
        3,
        "The robust trend is the Theil-Sen slope with its 95 % interval.",
        within(
            "transform/test_robust_trend",
            "published_example_of_cloud_seeding_gives_its_slope",
            "interval_lies_between_the_ranks_of_kendalls_variance_with_ties",
            "odd_days_do_not_move_the_line",
        ),
    ),
    Rule(
        3,
        "Weather is taken out only with a stated fit, and a poor one is refused.",
        within(
            "transform/test_weather_trend",
            "same_building_in_other_weather_has_no_normalised_trend",
            "building_that_ignores_the_weather_is_refused_with_its_fit",
            "cambridge_gas_normalised_is_flatter_than_raw_and_poor_fits_are_refused",
        ),
    ),
    Rule(
        3,
        "Temperatures come from a register or a file; without them the reason stands there.",
        (
            *within(
                "transform/test_weather",
                "day_covered_by_half_counts_and_one_below_comes_from_the_csv",
            ),
            *within(
                "transform/test_weather_trend",
                "without_temperatures_the_raw_trend_stands_alone",
            ),
        ),
    ),
)

COVERAGE_RULES = (
    Rule(
        4,
        "Coverage is what was received of what was expected by real length.",
        within(
            TRENDS,
            "coverage_spans_seven_complete_local_days",
            "a_register_that_never_came_is_in_the_coverage_and_a_sensor_is_not",
        ),
    ),
    Rule(
        4,
        "A day below 90 % does not count for a baseline.",
        within(
            SAVINGS,
            "day_counts_from_ninety_percent_of_its_intervals_and_is_filled",
            "baseline_may_miss_37_days",
            "short_baseline_is_insufficient",
        ),
    ),
    Rule(
        4,
        "A day's temperature needs half of its hours.",
        within(
            "transform/test_weather",
            "day_covered_by_half_counts_and_one_below_comes_from_the_csv",
        ),
    ),
    Rule(
        4,
        "A baseline is at most 365 days long.",
        within(SAVINGS, "baseline_longer_than_a_year_uses_the_last_365_days"),
    ),
)

DISAGGREGATION_RULES = (
    Rule(
        5,
        "Unattributed is mains less appliances and may be negative; it is never clipped.",
        (
            *within(SHARES, "unattributed_may_be_negative"),
            *within(
                "vendors/digiwatt/test_reconciliation",
                "appliances_above_the_total_differ_and_the_residual_is_not_clipped",
            ),
        ),
    ),
    Rule(
        5,
        "Error in assigned energy, NEP and NDE (with its root) are the formulas.",
        within(
            SCORES,
            "scores_of_four_hours_are_those_worked_out_by_hand",
            "scores_of_any_two_appliances_are_those_of_the_formulas_in_any_order",
        ),
    ),
    Rule(
        5,
        "Fraction assigned correctly and total energy accuracy are the formulas.",
        within(
            TOTAL_SCORES,
            "two_appliances_over_two_hours_score_as_worked_out_by_hand",
            "a_real_house_scores_as_plain_loops_find",
        ),
    ),
    Rule(
        5,
        "F1 splits on and off at the threshold of the appliance.",
        within(SCORES, "on_and_off_are_split_at_the_appliances_threshold"),
    ),
    Rule(
        5,
        "A zero denominator is null.",
        (
            *within(SCORES, "no_truth_and_never_on_leave_ratios_null"),
            *within(TOTAL_SCORES, "without_a_mains_register_there_is_no_accuracy_but_shares"),
        ),
    ),
    Rule(
        5,
        "The score of the all-zero estimate stands beside each score.",
        (
            *within(SCORES, "the_floor_is_what_the_estimate_of_nothing_scores"),
            *within(TOTAL_SCORES, "an_estimate_of_nothing_scores_the_floor_and_has_no_shares"),
        ),
    ),
    Rule(
        5,
        "Alignment is tested before a vendor is blamed.",
        (
            *within(SCORES, "a_shifted_estimate_is_told_by_the_shift_that_mends_it"),
            *within(TOTAL_SCORES, "a_shift_of_all_estimates_is_told_before_the_vendor_is_blamed"),
        ),
    ),
    Rule(
        5,
        "Peers share commodity, use and size, with 90 % coverage.",
        within(
            PEERS,
            "another_use_size_or_commodity_is_no_peer",
            "low_coverage_takes_a_site_out_of_its_group",
        ),
    ),
    Rule(
        5,
        "Min, quartiles, median, max, rank and percentile are shown from five peers on.",
        within(
            PEERS,
            "group_of_five_shows_quartiles_rank_and_percentile",
            "group_of_four_is_hidden_and_says_why",
        ),
    ),
)

ELECTRICAL_RULES = (
    Rule(
        6,
        "P, Q and S make a right triangle within a relative and an absolute tolerance.",
        within(
            ELECTRICAL,
            "apparent_power_that_is_not_the_root_of_its_parts_fails",
            "rounding_at_low_load_is_no_failure_and_a_coarse_meter_gets_its_step",
            "ampds2_is_consistent_and_wrong_voltages_in_it_are_found",
        ),
    ),
    Rule(
        6,
        "Voltage is refused below 0.5 and above 1.3 of nominal, and by no narrower limit.",
        within(ELECTRICAL, "only_voltages_that_no_working_supply_has_fail"),
    ),
    Rule(
        6,
        "The total is the sum of its phases.",
        within(ELECTRICAL, "total_that_is_not_the_sum_of_its_phases_fails"),
    ),
    Rule(
        6,
        "Phases of zero while the total grows were not measured.",
        within(
            ELECTRICAL,
            "zero_phases_while_the_total_grows_are_not_measured_and_no_wrong_sum",
        ),
    ),
)
