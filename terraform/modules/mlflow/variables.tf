variable "bucket" {
  description = "Bucket that models and other artifacts go to."
  type        = string
  nullable    = false
}

variable "database" {
  description = "Cloud SQL instance. Google keeps a deleted instance's name for a week: choose a new one to make it again sooner. `db-f1-micro` is the cheapest tier."
  type = object({
    highly_available = optional(bool, false)
    name             = optional(string, "mlflow")
    tier             = optional(string, "db-f1-micro")
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,61}[a-z0-9]$", var.database.name))
    error_message = "An instance's name is lower-case letters, digits and hyphens."
  }
}

variable "deletion_policy" {
  description = "DELETE or PREVENT."
  type        = string
  default     = "PREVENT"
  nullable    = false

  validation {
    condition     = contains(["DELETE", "PREVENT"], var.deletion_policy)
    error_message = "deletion_policy is DELETE or PREVENT."
  }
}

variable "images" {
  description = "Images pinned by digest: the server and Google's Cloud SQL proxy. Null makes the database and no service."
  type = object({
    server    = string
    sql_proxy = string
  })
  default = null

  validation {
    condition     = var.images == null ? true : alltrue([for image in values(var.images) : can(regex("@sha256:[0-9a-f]{64}$", image))])
    error_message = "An image is pinned by its digest: NAME@sha256:..."
  }
}

variable "kms_key" {
  description = "Key to encrypt the database with; Google's own where null. Cannot be changed later."
  type        = string
  default     = null
}

variable "machines" {
  description = "IAM members that log and read runs, by any static name."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "network" {
  description = "Network of the database, peered with Google's services: its full name, and the short names Cloud Run takes."
  type = object({
    network         = string
    network_name    = string
    subnetwork_name = string
  })
  nullable = false
}

variable "people" {
  description = "IAM members that open the pages in a browser, by any static name."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "project_id" {
  description = "Project of the server."
  type        = string
  nullable    = false
}

variable "project_number" {
  description = "Number of that project."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the server."
  type        = string
  nullable    = false
}

variable "service_account" {
  description = "Identity of the server: an email."
  type        = string
  nullable    = false
}
