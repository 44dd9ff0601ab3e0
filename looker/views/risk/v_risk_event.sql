-- Each risk_event once: deliveries may repeat, the event id is the same.
SELECT *
FROM `{project}.{risk}.risk_event`
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY event_id ORDER BY time) = 1
