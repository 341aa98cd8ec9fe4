"""Writes docs/messages.md."""

from energy_etl_tests.messages.page import PAGE, page

PAGE.write_text(page(), encoding="utf-8")
