variable "bucket" {
  description = "Bucket of the template and of temporary files."
  type        = string
  nullable    = false
}

variable "description" {
  description = "What the pipeline does."
  type        = string
  default     = "Ticks to bars, with quality checks."
  nullable    = false
}

variable "image" {
  description = "Image of the pipeline, pinned by digest; null until it exists."
  type        = string
  default     = null
}

variable "name" {
  description = "Name of the template."
  type        = string
  default     = "ticks-to-bars"
  nullable    = false
}

variable "parameters" {
  description = "Parameters of the pipeline, as a flex template's metadata lists them."
  type = list(object({
    helpText   = string
    isOptional = optional(bool, false)
    label      = string
    name       = string
  }))
  default  = []
  nullable = false
}

variable "project_id" {
  description = "Project the pipeline runs in."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region the pipeline runs in."
  type        = string
  nullable    = false
}

variable "service_account" {
  description = "Identity of the workers: an email."
  type        = string
  nullable    = false
}

variable "subnetwork" {
  description = "Full name of the workers' subnetwork; the default network where null."
  type        = string
  default     = null
}
