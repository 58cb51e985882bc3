return require("absent")("resty.dns.resolver")
