variable "project_id" {
  description = "Project of the schedules."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the schedules and of the jobs."
  type        = string
  nullable    = false
}

variable "schedules" {
  description = "Schedules by name: which Cloud Run job runs when. Times are New York's, which moves with the market; there are no retries, for each would be another execution."
  type = map(object({
    description = optional(string, "")
    job         = string
    paused      = optional(bool, false)
    schedule    = string
    time_zone   = optional(string, "America/New_York")
  }))
  nullable = false

  validation {
    condition     = alltrue([for s in var.schedules : length(split(" ", s.schedule)) == 5])
    error_message = "A schedule is cron: minute, hour, day, month, weekday."
  }
}

variable "service_account" {
  description = "Identity that starts the jobs: an email, with roles/run.invoker on each."
  type        = string
  nullable    = false
}
