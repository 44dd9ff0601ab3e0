variable "args" {
  description = "Arguments of the entry point."
  type        = list(string)
  default     = null
}

variable "command" {
  description = "Entry point, where it is not the image's own."
  type        = list(string)
  default     = null
}

variable "concurrency" {
  description = "Requests one instance answers at once."
  type        = number
  default     = 40
  nullable    = false
}

variable "deletion_protection" {
  description = "Refuse a destroy until this was set to false and applied."
  type        = bool
  default     = false
  nullable    = false
}

variable "env" {
  description = "Environment variables."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, _ in var.env : can(regex("^[A-Z][A-Z0-9_]*$", name))])
    error_message = "An environment variable is upper-case letters, digits and underscores."
  }
}

variable "health_path" {
  description = "Path that answers 200 when the service is well."
  type        = string
  default     = "/health"
  nullable    = false
}

variable "iam" {
  description = "Grants, by any static name."
  type = map(object({
    member = string
    role   = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for grant in var.iam : !contains(["allUsers", "allAuthenticatedUsers"], grant.member)])
    error_message = "Nothing here is public."
  }
}

variable "iap_members" {
  description = "People who may open it in a browser, by any static name; none switches Identity-Aware Proxy off."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for member in var.iap_members : can(regex("^(user|group|serviceAccount|domain):.+$", member))])
    error_message = "A member is user:, group:, serviceAccount: or domain:."
  }
}

variable "image" {
  description = "Image, pinned by digest."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "An image is pinned by its digest: NAME@sha256:..."
  }
}

variable "ingress" {
  description = "Where requests may come from. Whoever comes must be allowed by IAM as well."
  type        = string
  default     = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  nullable    = false

  validation {
    condition     = contains(["INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_ALL", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"], var.ingress)
    error_message = "ingress is INGRESS_TRAFFIC_INTERNAL_ONLY, INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER or INGRESS_TRAFFIC_ALL."
  }
}

variable "name" {
  description = "Name of the service; with a project number and a region it makes its address."
  type        = string
  nullable    = false
}

variable "network" {
  description = "Network that private addresses are reached through; none where null. Everything else is the internet, directly."
  type = object({
    network    = string
    subnetwork = string
  })
  default = null
}

variable "port" {
  description = "Port the container listens on."
  type        = number
  default     = 8080
  nullable    = false
}

variable "project_id" {
  description = "Project of the service."
  type        = string
  nullable    = false
}

variable "project_number" {
  description = "Number of that project."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the service."
  type        = string
  nullable    = false
}

variable "resources" {
  description = "Limits of a task or instance."
  type = object({
    cpu    = optional(string, "1")
    memory = optional(string, "1Gi")
  })
  default  = {}
  nullable = false

  validation {
    condition = try(alltrue([
      for mebibytes in [tonumber(regex("^[0-9]+", var.resources.memory)) * { Mi = 1, Gi = 1024 }[regex("[A-Z].*$", var.resources.memory)]] :
      mebibytes >= { "1" = 512, "2" = 512, "4" = 2048, "6" = 4096, "8" = 4096 }[var.resources.cpu] &&
      mebibytes <= tonumber(var.resources.cpu) * 4096
    ]), false)
    error_message = "cpu is 1, 2, 4, 6 or 8; memory, in Mi or Gi, is 512Mi at least (2Gi for 4 processors, 4Gi for more) and 4Gi a processor at most."
  }
}

variable "scaling" {
  description = "Fewest and most instances; 0 costs nothing while idle."
  type = object({
    max = optional(number, 2)
    min = optional(number, 0)
  })
  default  = {}
  nullable = false
}

variable "secrets" {
  description = "Environment variables that hold a secret: its id and the number of its version."
  type = map(object({
    secret  = string
    version = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for s in var.secrets : can(regex("^[1-9][0-9]*$", s.version))])
    error_message = "A version is a number, not latest: a rotation is a decision."
  }
}

variable "service_account" {
  description = "Identity it runs as: an email."
  type        = string
  nullable    = false
}

variable "timeout_seconds" {
  description = "Longest answer."
  type        = number
  default     = 60
  nullable    = false
}
