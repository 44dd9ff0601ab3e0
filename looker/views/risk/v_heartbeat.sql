-- Each sign of life once: a source gives one an instant.
SELECT *
FROM `{project}.{risk}.heartbeat`
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY source, time ORDER BY fencing DESC) = 1
