variable "bigquery" {
  description = "Address of the local BigQuery, http://host:port."
  type        = string
  nullable    = false
}

variable "project_id" {
  description = "Project of the local stack."
  type        = string
  nullable    = false
}

variable "pubsub" {
  description = "Address of the local Pub/Sub, http://host:port."
  type        = string
  nullable    = false
}
