variable "ip_cidr_range" {
  description = "Addresses of the subnetwork. Cloud Run takes a block of 16 for each 8 instances or so."
  type        = string
  default     = "10.20.0.0/22"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.ip_cidr_range, 0)) && tonumber(split("/", var.ip_cidr_range)[1]) <= 26
    error_message = "The range is IPv4 in CIDR form, /26 or larger."
  }
}

variable "name" {
  description = "Name of the network; its parts are named after it."
  type        = string
  default     = "mbats"
  nullable    = false
}

variable "nat" {
  description = "Way out to the internet: `static_ip` reserves one address that a broker can pin."
  type = object({
    enabled   = optional(bool, true)
    static_ip = optional(bool, false)
  })
  default  = {}
  nullable = false
}

variable "private_services" {
  description = "Peer with Google's services network, which private Cloud SQL needs."
  type        = bool
  default     = false
  nullable    = false
}

variable "project_id" {
  description = "Project of the network."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the subnetwork."
  type        = string
  nullable    = false
}
