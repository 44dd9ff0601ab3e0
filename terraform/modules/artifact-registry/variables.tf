variable "deletion_policy" {
  description = "DELETE or PREVENT."
  type        = string
  default     = "DELETE"
  nullable    = false

  validation {
    condition     = contains(["DELETE", "PREVENT"], var.deletion_policy)
    error_message = "deletion_policy is DELETE or PREVENT."
  }
}

variable "description" {
  description = "What the images are."
  type        = string
  default     = "Images of the desk, one tag a commit."
  nullable    = false
}

variable "iam" {
  description = "Grants on the repository, by any static name."
  type = map(object({
    member = string
    role   = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for grant in var.iam : !contains(["allUsers", "allAuthenticatedUsers"], grant.member)])
    error_message = "No repository is public."
  }
}

variable "immutable_tags" {
  description = "Refuse to move a tag. Cloud Functions moves its own, so its repository must allow it."
  type        = bool
  default     = true
  nullable    = false
}

variable "keep_days" {
  description = "Images older than this many days go, but for the newest `keep_versions`."
  type        = number
  default     = 90
  nullable    = false
}

variable "keep_versions" {
  description = "Versions of each image that are always kept."
  type        = number
  default     = 10
  nullable    = false
}

variable "kms_key" {
  description = "Key to encrypt with; Google's own where null. Cannot be changed later."
  type        = string
  default     = null
}

variable "name" {
  description = "Name of the repository."
  type        = string
  default     = "mbats"
  nullable    = false
}

variable "project_id" {
  description = "Project of the repository."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the repository."
  type        = string
  nullable    = false
}
