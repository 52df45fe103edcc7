"""streamgauge.toml as typed values: `schema` says what may be in it, `load` reads it, `secrets` fills in `${NAME}`."""
