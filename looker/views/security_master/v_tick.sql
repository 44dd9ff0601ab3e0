-- Each price update once, as first published; marks of gaps are rows without prices.
SELECT *
FROM `{project}.{security_master}.tick`
WHERE TRUE
QUALIFY
  ROW_NUMBER() OVER (
    PARTITION BY instrument, time, vendor, event_id ORDER BY published_at
  ) = 1
