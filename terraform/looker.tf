# Google's Linking API: one link that copies a template report, or makes an empty one, over these views.
locals {
  _desk_views = { for key, table in module.warehouse.views : split(".", key)[1] => table if startswith(key, "desk_views.") }
  _sources = concat(
    [
      "ds.*.connector=bigQuery", "ds.*.type=TABLE", "ds.*.projectId=${var.project_id}",
      "ds.*.datasetId=desk_views", "ds.*.billingProjectId=${var.project_id}",
    ],
    flatten([for view, _ in local._desk_views : [
      "ds.${view}.tableId=${view}", "ds.${view}.datasourceName=${urlencode(view)}", "ds.${view}.refreshFields=false",
    ]]),
  )
  looker_link = length(local._desk_views) == 0 ? null : join("&", concat(
    [var.looker_template_report_id == "" ?
      "https://lookerstudio.google.com/reporting/create?c.mode=edit" :
    "https://lookerstudio.google.com/reporting/create?c.reportId=${var.looker_template_report_id}&c.mode=view"],
    ["r.reportName=${urlencode("MBATS ${var.environment}")}"],
    local._sources,
  ))
}
