variable "channels" {
  description = "Notification channels by display name."
  type = map(object({
    labels = map(string)
    type   = optional(string, "email")
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for c in var.channels : contains(["email", "pubsub", "sms"], c.type)])
    error_message = "A channel without a token is of type email, pubsub or sms."
  }
  validation {
    condition     = alltrue([for c in var.channels : join(",", keys(c.labels)) == lookup({ email = "email_address", pubsub = "topic", sms = "number" }, c.type, "")])
    error_message = "A channel has the one label of its type: email email_address, pubsub topic, sms number."
  }
}

variable "heartbeats" {
  description = "Sources that must give signs of life while the market is open, the streamer and each bot, and what each runs as: cloud_run_job or cloud_run_worker_pool."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for kind in var.heartbeats : contains(["cloud_run_job", "cloud_run_worker_pool"], kind)])
    error_message = "A source runs as cloud_run_job or cloud_run_worker_pool."
  }
}

variable "project_id" {
  description = "Project that is watched."
  type        = string
  nullable    = false
}
