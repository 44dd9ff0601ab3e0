variable "amount" {
  description = "The month's budget in whole units of the billing account's currency."
  type = object({
    currency = optional(string, "USD")
    units    = number
  })
  nullable = false

  validation {
    condition     = var.amount.units >= 1 && floor(var.amount.units) == var.amount.units
    error_message = "A budget is a whole number of its currency's units, 1 at least."
  }
  validation {
    condition     = can(regex("^[A-Z]{3}$", var.amount.currency))
    error_message = "A currency is three capital letters."
  }
}

variable "billing_account" {
  description = "Billing account, for example 000000-000000-000000."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "A billing account is three groups of six: 000000-000000-000000."
  }
}

variable "name" {
  description = "Name of the budget."
  type        = string
  default     = "mbats"
  nullable    = false
}

variable "notification_channels" {
  description = "Channels told besides the billing administrators, five at most."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.notification_channels) <= 5
    error_message = "Google tells five channels at most."
  }
}

variable "project_number" {
  description = "Number of the project whose cost counts."
  type        = string
  nullable    = false
}

variable "thresholds" {
  description = "When people are told, by name: percent of the budget, spent or forecast."
  type = map(object({
    forecast = optional(bool, false)
    percent  = number
  }))
  default = {
    all      = { percent = 100 }
    forecast = { percent = 100, forecast = true }
    half     = { percent = 50 }
    most     = { percent = 90 }
  }
  nullable = false
}
