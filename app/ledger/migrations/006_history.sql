-- How many earlier matches each team had: with too few a best edge is no value bet, in the ledger as on the cards.
-- Rows from before have none until the next snapshot settles them again.
ALTER TABLE prediction_settlements ADD COLUMN n_history_home integer, ADD COLUMN n_history_away integer;
