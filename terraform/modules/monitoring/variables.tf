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
}

variable "heartbeats" {
  description = "Sources that must give signs of life while the market is open: the streamer, each bot."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "project_id" {
  description = "Project that is watched."
  type        = string
  nullable    = false
}
