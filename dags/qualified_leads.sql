-- The leads that have qualified lately. What is selected here is what leaves your company: each
-- column that the payload has no field for becomes a custom field. The look-back is far longer than
-- the step of any schedule, so that a row which is committed late is still found; what was delivered
-- before is skipped. A run that was triggered by hand has no data interval: it looks back from now.
SELECT id, email, name, phone, company, score, status, custom_fields, verifications,
       created_at, qualified_at, list_id, list_name
FROM {{ params.leads_table }}
WHERE status = 'qualified'
  AND qualified_at >= '{{ (
    (dag_run.data_interval_start or dag_run.run_after)
    - macros.timedelta(hours=params.look_back_hours)
  ).strftime("%Y-%m-%d %H:%M:%S+00:00") }}'
ORDER BY qualified_at
