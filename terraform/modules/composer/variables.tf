variable "airflow_config" {
  description = "Airflow settings, SECTION-OPTION to value. (Google refuses AIRFLOW__X__Y as environment variables.)"
  type        = map(string)
  default = {
    "core-dags_are_paused_at_creation" = "True"
  }
  nullable = false
}

variable "bucket" {
  description = "Bucket of DAGs, plugins and logs, in the region of the environment: Composer takes no multi-region, and adds no grant of its own."
  type        = string
  nullable    = false
}

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

variable "env" {
  description = "Environment variables of Airflow."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, _ in var.env : can(regex("^[A-Z_][A-Z0-9_]*$", name)) && !can(regex("^AIRFLOW__", name))])
    error_message = "Names are upper-case, and not AIRFLOW__X__Y: use airflow_config for those."
  }
}

variable "image_version" {
  description = "Composer 3 image with its build. Google stops offering a build within weeks; `gcloud composer environments list-packages` and the release notes have the newest."
  type        = string
  default     = "composer-3-airflow-3.3.1-build.2"
  nullable    = false

  validation {
    condition     = can(regex("^composer-3-airflow-3(\\.[0-9]+\\.[0-9]+(-build\\.[0-9]+)?)?$", var.image_version))
    error_message = "The DAGs are written for Composer 3 and Airflow 3: composer-3-airflow-3.X.Y-build.N."
  }
}

variable "kms_key" {
  description = "Key to encrypt with; Google's own where null. Cannot be changed later."
  type        = string
  default     = null
}

variable "max_workers" {
  description = "Most workers; DAGs only start Cloud Run jobs, so few do."
  type        = number
  default     = 3
  nullable    = false
}

variable "name" {
  description = "Name of the environment."
  type        = string
  default     = "mbats"
  nullable    = false
}

variable "network" {
  description = "Network to attach, full names; none is needed to start Cloud Run jobs, and Terraform cannot detach one again."
  type = object({
    network    = string
    subnetwork = string
  })
  default = null
}

variable "project_id" {
  description = "Project of the environment."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the environment."
  type        = string
  nullable    = false
}

variable "service_account" {
  description = "Identity of Airflow's workers: an email, with roles/composer.worker. Cannot be changed later."
  type        = string
  nullable    = false
}

variable "size" {
  description = "Small carries about 50 DAGs, Medium 250."
  type        = string
  default     = "ENVIRONMENT_SIZE_SMALL"
  nullable    = false

  validation {
    condition     = contains(["ENVIRONMENT_SIZE_SMALL", "ENVIRONMENT_SIZE_MEDIUM", "ENVIRONMENT_SIZE_LARGE"], var.size)
    error_message = "size is ENVIRONMENT_SIZE_SMALL, _MEDIUM or _LARGE."
  }
}

variable "web_allowed_ip_ranges" {
  description = "Ranges that may reach Airflow's web page, by a description; any where empty. Whoever comes must sign in as well."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for range in var.web_allowed_ip_ranges : !strcontains(range, "/") || try(cidrhost(range, 0) == split("/", range)[0], false)])
    error_message = "A range begins with its first address: 1.2.3.0/24, not 1.2.3.4/24."
  }
}
