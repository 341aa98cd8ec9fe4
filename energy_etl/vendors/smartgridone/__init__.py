"""SmartgridOne."""
