"""Files, arrays and data frames become batches: sources → features → ragged → batching."""
