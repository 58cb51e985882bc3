return require("absent")("resty.ipmatcher")
