return require("absent")("resty.lock")
