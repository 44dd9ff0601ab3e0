# Who may do what on which resource: the least each workload needs. tests/terraform/iam.tsv names every grant,
# and a test fails on one that is not there.
locals {
  _bots = { for name, bot in var.bots : "bot-${name}" => merge(bot, {
    token_secret = coalesce(bot.token_secret, bot.mode == "live" ? "oanda-live-token" : "oanda-practice-token")
  }) }
  _dataflow = { for name in ["dataflow"] : name => true if var.features.dataflow }

  bucket_iam = { for grant in concat(
    [
      { bucket = "build", account = "build", role = "roles/storage.objectUser" }, # reads sources, leaves lists of contents
      { bucket = "control", account = "fn-control-file", role = "roles/storage.objectUser" },
      { bucket = "data", account = "backtest", role = "roles/storage.objectViewer" },
      { bucket = "data", account = "backtest", role = "roles/storage.objectUser", prefix = "sweeps/" }, # what tasks leave to be gathered
      { bucket = "data", account = "download", role = "roles/storage.objectUser" },
      { bucket = "data", account = "fn-control-file", role = "roles/storage.objectCreator", prefix = "dead-letters/" },
      { bucket = "data", account = "fn-dead-letter", role = "roles/storage.objectCreator", prefix = "dead-letters/" },
      { bucket = "data", account = "fn-notify", role = "roles/storage.objectCreator", prefix = "dead-letters/" },
      { bucket = "data", account = "fn-risk-guard", role = "roles/storage.objectCreator", prefix = "dead-letters/" },
      { bucket = "data", account = "parity", role = "roles/storage.objectViewer" },
      { bucket = "data", account = "train", role = "roles/storage.objectUser" },
      { bucket = "models", account = "model-server", role = "roles/storage.objectViewer" },
      { bucket = "reports", account = "backtest", role = "roles/storage.objectUser" },
      { bucket = "reports", account = "parity", role = "roles/storage.objectUser" },
      { bucket = "reports", account = "reconcile", role = "roles/storage.objectUser" },
      { bucket = "state", account = "fn-notify", role = "roles/storage.legacyBucketReader" }, # without it a missing object is forbidden, not missing
      { bucket = "state", account = "fn-notify", role = "roles/storage.objectUser", prefix = "notify/" },
      { bucket = "state", account = "fn-risk-guard", role = "roles/storage.objectUser" },
      { bucket = "state", account = "halt", role = "roles/storage.objectUser" },
      { bucket = "state", account = "reconcile", role = "roles/storage.objectUser" },
      { bucket = "state", account = "streamer", role = "roles/storage.objectUser" },
    ],
    [for name, _ in local._bots : { bucket = "state", account = name, role = "roles/storage.objectUser" }],
    var.features.mlflow ? [{ bucket = "models", account = "mlflow", role = "roles/storage.objectUser" }] : [],
    var.features.dataflow ? [{ bucket = "dataflow", account = "dataflow", role = "roles/storage.objectAdmin" }] : [],
    var.orchestrator == "composer" ? [
      { bucket = "control", account = "composer", role = "roles/storage.objectViewer" },
      { bucket = "composer", account = "composer", role = "roles/storage.objectAdmin" },
    ] : [],
    var.orchestrator == "composer" ? [{ bucket = "composer", account = "fn-control-file", role = "roles/storage.objectUser", prefix = "dags/control/" }] : [],
    var.ci.repository_id == null ? [] : [{ bucket = "build", account = "deploy", role = "roles/storage.objectUser" }],
  ) : join("/", compact([grant.bucket, grant.account, trimsuffix(try(grant.prefix, ""), "/")])) => { bucket = grant.bucket, role = grant.role, member = local.members[grant.account], prefix = try(grant.prefix, null) } }

  registry_iam = merge(
    { build = { role = "roles/artifactregistry.writer", member = local.members.build } },
    var.ci.repository_id == null ? {} : { deploy = { role = "roles/artifactregistry.reader", member = local.members.deploy } },
    # Dataflow's machines pull the pipeline's image as their own account.
    { for name, _ in local._dataflow : name => { role = "roles/artifactregistry.reader", member = local.members[name] } },
  )

  # A broker token is read by what trades with it, prices with it, or stops it: never by a backtest.
  secret_iam = { for grant in concat(
    [for account in ["halt", "reconcile", "streamer"] : { account = account, secret = local.token_secret }],
    [{ account = "download", secret = "oanda-practice-token" }, { account = "fn-notify", secret = "notify-webhook" }],
    [for name, bot in local._bots : { account = name, secret = bot.token_secret }],
    [for secret in setsubtract([for bot in local._bots : bot.token_secret], [local.token_secret]) : { account = "halt", secret = secret }],
  ) : "${grant.secret}/${grant.account}" => { secret = grant.secret, member = local.members[grant.account] } }

  topic_iam = { for grant in concat(
    [
      { topic = "ticks", account = "streamer" },
      { topic = "risk-events", account = "streamer" },
      { topic = "control", account = "fn-risk-guard" },
      { topic = "control", account = "halt" },
      { topic = "order-events", account = "halt" },
      { topic = "order-events", account = "reconcile" },
      { topic = "risk-events", account = "fn-control-file" },
      { topic = "risk-events", account = "fn-risk-guard" },
      { topic = "risk-events", account = "halt" },
      { topic = "risk-events", account = "parity" },
      { topic = "risk-events", account = "reconcile" },
    ],
    flatten([for name, _ in local._bots : [{ topic = "order-events", account = name }, { topic = "risk-events", account = name }]]),
    var.orchestrator == "composer" ? [{ topic = "risk-events", account = "composer" }] : [], # a DAG that failed tells people
  ) : "${grant.topic}/${grant.account}" => { topic = grant.topic, member = local.members[grant.account] } }

  subscription_iam = merge(
    { for name, _ in local._bots : "${name}-ticks" => { subscription = "${name}-ticks", member = local.members[name] } },
    var.features.dataflow_streaming ? {
      dataflow = { subscription = "ticks-to-dataflow", member = local.members.dataflow }
      dataflow-viewer = { subscription = "ticks-to-dataflow", role = "roles/pubsub.viewer", member = local.members.dataflow
    } } : {},
  )

  # A batch waits in a table of the dataset staging before one statement takes it in, so a writer makes tables there
  # and changes rows of its own tables; it can neither drop a table of the others nor make one.
  dataset_access = { for grant in concat(
    [
      { dataset = "desk_views", account = "preview", role = "READER" },
      { dataset = "risk", account = "halt", role = "READER" },
      { dataset = "risk", account = "reconcile", role = "READER" },
      { dataset = "security_master", account = "backtest", role = "READER" },
      { dataset = "security_master", account = "download", role = "READER" },
      { dataset = "security_master", account = "parity", role = "READER" },
      { dataset = "security_master", account = "reconcile", role = "READER" },
      { dataset = "security_master", account = "train", role = "READER" },
    ],
    [for name, _ in local._risk_tables : { dataset = "risk", account = name, role = "READER" }],
    [for name in local._batch_writers : { dataset = "staging", account = name, role = "WRITER" }],
    [for name, _ in local._bots : { dataset = "security_master", account = name, role = "READER" }],
    [for name, _ in local._dataflow : { dataset = "security_master", account = name, role = "READER" }],
  ) : "${grant.dataset}/${grant.account}" => { dataset = grant.dataset, role = grant.role, member = local.members[grant.account] } }

  # Who changes which tables' rows. A bot's orders, fills and events go through Pub/Sub, as bq-writer.
  _result_tables = ["equity", "fill", "order_event", "performance", "position", "run", "signal", "trade"]
  _risk_tables = merge(
    {
      backtest        = local._result_tables
      fn-control-file = ["strategy_schedule"]
      parity          = concat(local._result_tables, ["risk_event"])
      train           = ["model_metric", "run"]
    },
    { for name, _ in local._bots : name => ["equity", "position", "run", "signal"] },
  )
  _market_tables = merge(
    {
      download        = ["alternative_data", "bar_daily", "bar_minute", "data_quality", "data_vendor", "exchange", "instrument"]
      fn-control-file = ["watchlist"]
    },
    { for name, _ in local._dataflow : name => ["bar_daily", "bar_minute", "data_quality"] },
  )
  _batch_writers = toset(concat(keys(local._risk_tables), keys(local._market_tables)))

  table_iam = { for grant in concat(
    [for store in values(local._messages.tables) : { table = store.table, account = "bq-writer" }],
    flatten([for name, tables in local._risk_tables : [for table in tables : { table = "risk.${table}", account = name }]]),
    flatten([for name, tables in local._market_tables : [for table in tables : { table = "security_master.${table}", account = name }]]),
  ) : "${grant.table}/${grant.account}" => { table = grant.table, member = local.members[grant.account] } }

  mlflow_machines = { for name in concat(["backtest", "model-server", "train"], keys(local._bots)) : name => local.members[name] }
}
