variable "account_currency" {
  description = "ISO 4217 code that profit and loss are counted in."
  type        = string
  default     = "USD"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Z]{3}$", var.account_currency))
    error_message = "A currency is three capital letters."
  }
}

variable "audit" {
  description = "Audit logs beside those that always are, service to log types, and how long the dataset keeps them."
  type = object({
    retention_days = optional(number, 400)
    services       = optional(map(set(string)), {})
  })
  default  = {}
  nullable = false
}

variable "bots" {
  description = <<-EOT
    Trading bots by name: one account, one bot, whatever strategies it runs. `mode` is paper (live prices, simulated
    fills), practice or live; a live bot needs environment live and its account on `live_accounts`. `token_secret` holds
    its broker token, `oanda-practice-token` or `oanda-live-token` where it is not given. `instruments` narrow the ticks
    it is sent; `args` replace the arguments it is started with.
  EOT
  type = map(object({
    account      = string
    args         = optional(list(string))
    cpu          = optional(string, "1")
    instruments  = optional(set(string), [])
    memory       = optional(string, "1Gi")
    mode         = string
    strategies   = optional(set(string), [])
    token_secret = optional(string)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name, _ in var.bots : can(regex("^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$", name))])
    error_message = "A bot's name is at most 16 lower-case letters, digits and hyphens."
  }
  validation {
    condition     = length(distinct([for bot in var.bots : bot.account])) == length(var.bots)
    error_message = "One account has one bot: two would fight over its lease."
  }
  validation {
    condition     = alltrue([for bot in var.bots : contains(["paper", "practice", "live"], bot.mode)])
    error_message = "A bot's mode is paper, practice or live."
  }
  validation {
    condition     = alltrue([for bot in var.bots : bot.mode != "live" || (var.environment == "live" && contains(var.live_accounts, bot.account))])
    error_message = "A live bot needs environment live and its account on live_accounts."
  }
  validation {
    condition     = alltrue(flatten([for bot in var.bots : [for i in bot.instruments : can(regex("^[A-Z0-9]{3,6}_[A-Z0-9]{3,6}$", i))]]))
    error_message = "An instrument is BASE_QUOTE."
  }
}

variable "budget" {
  description = "The month's budget; null for none. People are told at 50, 90 and 100 percent and when 100 is forecast; spending does not stop."
  type = object({
    amount          = number
    billing_account = string
    currency        = optional(string, "USD")
  })
  default = null
}

variable "ci" {
  description = "Continuous integration without keys. `repository_id` is the number of the GitHub repository that may deploy from `refs`; `build_repository` the Cloud Build connection's repository, whose pushes to main build images. Both null for none."
  type = object({
    build_region     = optional(string)
    build_repository = optional(string)
    pool_id          = optional(string, "mbats-ci")
    refs             = optional(set(string), ["refs/heads/main"])
    repository_id    = optional(string)
  })
  default  = {}
  nullable = false
}

variable "composer" {
  description = "Managed Airflow. Google stops offering an image build within weeks; see modules/composer."
  type = object({
    image_version         = optional(string, "composer-3-airflow-3.3.1-build.2")
    size                  = optional(string, "ENVIRONMENT_SIZE_SMALL")
    web_allowed_ip_ranges = optional(map(string), {})
  })
  default  = {}
  nullable = false
}

variable "environment" {
  description = "dev, practice or live. In live nothing that holds data or trades can be destroyed."
  type        = string
  default     = "dev"
  nullable    = false

  validation {
    condition     = contains(["dev", "practice", "live"], var.environment)
    error_message = "environment is dev, practice or live."
  }
}

variable "features" {
  description = <<-EOT
    What costs money or is rarely needed, off unless asked for: `bi_engine_gib` of BigQuery memory for dashboards,
    `cmek` (own encryption keys: decide before the first apply), `dataflow` (tick pipeline; `dataflow_streaming` gives
    it a subscription of its own), `mlflow` (tracking server and database; needs `private_network`), `private_network`
    (all traffic through one network and NAT), `static_egress_ip` (one address a broker can pin), `vertex_endpoint`,
    `vertex_experiments`.
  EOT
  type = object({
    bi_engine_gib      = optional(number, 0)
    cmek               = optional(bool, false)
    dataflow           = optional(bool, false)
    dataflow_streaming = optional(bool, false)
    mlflow             = optional(bool, false)
    private_network    = optional(bool, false)
    static_egress_ip   = optional(bool, false)
    vertex_endpoint    = optional(bool, false)
    vertex_experiments = optional(bool, false)
  })
  default  = {}
  nullable = false

  validation {
    condition     = !var.features.mlflow || var.features.private_network
    error_message = "mlflow needs private_network: its database has no public address."
  }
  validation {
    condition     = !var.features.static_egress_ip || var.features.private_network
    error_message = "static_egress_ip needs private_network."
  }
  validation {
    condition     = !var.features.dataflow_streaming || var.features.dataflow
    error_message = "dataflow_streaming needs dataflow."
  }
}

variable "functions" {
  description = "Zipped sources of the functions in the build bucket, by function: control-file, dead-letter, notify, risk-guard. One that is not given is not made; `make deploy` fills this in."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, _ in var.functions : contains(["control-file", "dead-letter", "notify", "risk-guard"], name)])
    error_message = "The functions are control-file, dead-letter, notify and risk-guard."
  }
}

variable "guard_limits" {
  description = "The risk guard's limits, name=value with commas, ACCOUNT:name=value for one account, for example daily_loss=500,drawdown=0.1. The library's own where empty."
  type        = string
  default     = ""
  nullable    = false
}

variable "iam_settle_seconds" {
  description = "How long to wait between grants and what needs them in force when it is made: what a key of our own encrypts, BigQuery subscriptions, functions' triggers, Composer, jobs that read a secret."
  type        = number
  default     = 60
  nullable    = false
}

variable "images" {
  description = "Images pinned by digest. What has no image is not made; `make deploy` fills this in. `desk` runs jobs and bots."
  type = object({
    dataflow     = optional(string, "")
    desk         = optional(string, "")
    mlflow       = optional(string, "")
    model_server = optional(string, "")
    preview      = optional(string, "")
    sql_proxy    = optional(string, "")
    streamer     = optional(string, "")
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for image in values(var.images) : image == "" || can(regex("@sha256:[0-9a-f]{64}$", image))])
    error_message = "An image is pinned by its digest: NAME@sha256:..."
  }
}

variable "live_accounts" {
  description = "Broker accounts that may trade real money. Bots get the list and refuse any other account."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "location" {
  description = "Location of data: a BigQuery and Cloud Storage multi-region (EU, US) or region."
  type        = string
  default     = "EU"
  nullable    = false
}

variable "looker_template_report_id" {
  description = "Id of the Looker Studio report that the link copies; empty makes Google's one-source report."
  type        = string
  default     = ""
  nullable    = false
}

variable "names" {
  description = "Names that Google remembers after a destroy, a database's for a week, a key ring's for ever: another name makes the thing anew sooner."
  type = object({
    database  = optional(string, "mlflow")
    key_rings = optional(string, "mbats")
  })
  default  = {}
  nullable = false
}

variable "notification_channels" {
  description = "Who hears of alerts, by display name: type email (label email_address), sms or pubsub."
  type = map(object({
    labels = map(string)
    type   = optional(string, "email")
  }))
  default  = {}
  nullable = false
}

variable "orchestrator" {
  description = "What starts jobs: composer (Airflow, as designed) or scheduler (cron, for a tenth of the price)."
  type        = string
  default     = "scheduler"
  nullable    = false

  validation {
    condition     = contains(["composer", "scheduler"], var.orchestrator)
    error_message = "orchestrator is composer or scheduler."
  }
}

variable "project_id" {
  description = "Project the desk is built in: one an environment."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project id is 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "readers" {
  description = "Who reads the dashboards' views, and opens the preview and MLflow pages, by any name: user: or group: and an email."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for member in var.readers : can(regex("^(user|group):[^@]+@[^@]+$", member))])
    error_message = "A reader is user: or group: and an email."
  }
  validation {
    condition     = length(distinct(values(var.readers))) == length(var.readers)
    error_message = "A reader has one name: two would be one grant twice, and to take one back would take both."
  }
}

variable "region" {
  description = "Region of everything that runs."
  type        = string
  default     = "europe-west1"
  nullable    = false
}

variable "schedules" {
  description = "When jobs run where orchestrator is scheduler: cron, New York time, by job. Each bot starts with the week as well."
  type        = map(string)
  default = {
    download  = "10 17 * * 1-5"
    reconcile = "30 17 * * 1-5"
    parity    = "0 18 * * 5"
  }
  nullable = false
}

variable "secret_versions" {
  description = "Number of the version in use, by secret. What needs a secret that a person has not filled is not made."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for v in var.secret_versions : can(regex("^[1-9][0-9]*$", v))])
    error_message = "A version is a number, not latest."
  }
}
