"""Orders, fills, money and costs. Pure: no network, no clock."""
