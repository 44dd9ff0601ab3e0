variable "dead_letter_iam" {
  description = "Grants on the dead-letter subscription of a topic, by any static name."
  type = map(object({
    member = string
    role   = optional(string, "roles/pubsub.subscriber")
    topic  = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for grant in var.dead_letter_iam : !contains(["allUsers", "allAuthenticatedUsers"], grant.member)])
    error_message = "Nothing here is public."
  }
}

variable "dead_letter_retention" {
  description = "How long dead letters are kept: 31 days, the longest there is. An emulator keeps 7 at most."
  type        = string
  default     = "2678400s"
  nullable    = false
}

variable "deletion_policy" {
  description = "DELETE or PREVENT; ephemeral subscriptions can always go."
  type        = string
  default     = "DELETE"
  nullable    = false

  validation {
    condition     = contains(["DELETE", "PREVENT"], var.deletion_policy)
    error_message = "deletion_policy is DELETE or PREVENT."
  }
}

variable "kms_key" {
  description = "Key to encrypt with; Google's own where null."
  type        = string
  default     = null
}

variable "persistence_regions" {
  description = "Regions messages may be stored in; any where empty."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "project_id" {
  description = "Project of the topics."
  type        = string
  nullable    = false
}

variable "service_agent" {
  description = "IAM member of the project's Pub/Sub service agent, which moves dead letters. Null makes no grant to it: an emulator knows no IAM."
  type        = string
  default     = null
}

variable "subscription_iam" {
  description = "Grants on subscriptions, by any static name; `subscription` is a key of `subscriptions`."
  type = map(object({
    member       = string
    role         = optional(string, "roles/pubsub.subscriber")
    subscription = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for grant in var.subscription_iam : !contains(["allUsers", "allAuthenticatedUsers"], grant.member)])
    error_message = "Nothing here is public."
  }
}

variable "subscriptions" {
  description = "Subscriptions by name. With `bigquery` it writes to that table (PROJECT.DATASET.TABLE) as that account: by the topic's schema where it has one, else by the table's. An `ephemeral` one carries what is worthless when late: no dead letters."
  type = map(object({
    ack_deadline_seconds = optional(number, 60)
    bigquery = optional(object({
      service_account = string
      table           = string
    }))
    ephemeral             = optional(bool, false)
    exactly_once          = optional(bool, false)
    filter                = optional(string)
    max_delivery_attempts = optional(number, 5)
    ordering              = optional(bool, false)
    retention             = optional(string, "604800s")
    topic                 = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for s in var.subscriptions : s.max_delivery_attempts >= 5 && s.max_delivery_attempts <= 100])
    error_message = "max_delivery_attempts is 5 to 100."
  }
  validation {
    condition     = alltrue([for s in var.subscriptions : s.bigquery == null ? true : can(regex("^[^.]+\\.[^.]+\\.[^.]+$", s.bigquery.table))])
    error_message = "A table is PROJECT.DATASET.TABLE."
  }
  validation {
    condition     = alltrue([for name, _ in var.subscriptions : can(regex("^[a-z][a-z0-9-]{2,62}$", name))])
    error_message = "A subscription's name is 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "topic_iam" {
  description = "Grants on topics, by any static name; `topic` is a key of `topics`."
  type = map(object({
    member = string
    role   = optional(string, "roles/pubsub.publisher")
    topic  = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for grant in var.topic_iam : !contains(["allUsers", "allAuthenticatedUsers"], grant.member)])
    error_message = "Nothing here is public."
  }
}

variable "topics" {
  description = "Topics by name; each gets a dead-letter topic that has a subscription. `schema` is an Avro record that Pub/Sub holds publishers to."
  type = map(object({
    retention = optional(string)
    schema = optional(object({
      definition = string
      encoding   = optional(string, "JSON")
    }))
  }))
  nullable = false

  validation {
    condition     = alltrue([for name, _ in var.topics : can(regex("^[a-z][a-z0-9-]{2,50}$", name)) && !startswith(name, "goog")])
    error_message = "A topic's name is 3 to 51 lower-case letters, digits and hyphens."
  }
  validation {
    condition     = alltrue([for t in var.topics : t.schema == null ? true : contains(["JSON", "BINARY"], t.schema.encoding)])
    error_message = "encoding is JSON or BINARY."
  }
}
