// JPEG 2000 through OpenJPEG. The codestream's header is compared with the image's before anything is decoded, so that
// memory is bounded by what the header says.
#include "workers/dicom/decode.h"

#include <openjpeg.h>
#include <string.h>

struct memory_stream {
    const unsigned char *bytes;
    size_t length, at;
};

static OPJ_SIZE_T stream_read(void *to, OPJ_SIZE_T size, void *user)
{
    struct memory_stream *s = user;
    size_t left = s->length - s->at, n = size < left ? size : left;
    if (n == 0)
        return (OPJ_SIZE_T)-1;
    memcpy(to, s->bytes + s->at, n);
    s->at += n;
    return n;
}

static OPJ_OFF_T stream_skip(OPJ_OFF_T by, void *user)
{
    struct memory_stream *s = user;
    if (by < 0 || (uint64_t)by > s->length - s->at) {
        s->at = by < 0 ? s->at : s->length;
        return -1;
    }
    s->at += (size_t)by;
    return by;
}

static OPJ_BOOL stream_seek(OPJ_OFF_T to, void *user)
{
    struct memory_stream *s = user;
    if (to < 0 || (uint64_t)to > s->length)
        return OPJ_FALSE;
    s->at = (size_t)to;
    return OPJ_TRUE;
}

static enum kf_status check_header(const opj_image_t *image, int columns, int rows, struct kf_error *err)
{
    if (image->numcomps != 1)
        return kf_error_set(err, KF_INVALID, "frame_mismatch", "the JPEG 2000 frame has %u components, not one",
                            image->numcomps);
    const opj_image_comp_t *c = &image->comps[0];
    if (c->w != (OPJ_UINT32)columns || c->h != (OPJ_UINT32)rows || c->prec < 1 || c->prec > 16)
        return kf_error_set(err, KF_INVALID, "frame_mismatch", "the JPEG 2000 frame is %ux%u at %u bits, not %dx%d",
                            c->w, c->h, c->prec, columns, rows);
    return KF_OK;
}

static void copy_values(const opj_image_comp_t *c, int is_signed, uint16_t *to)
{
    size_t count = (size_t)c->w * c->h;
    uint32_t mask = (1u << c->prec) - 1, sign = is_signed ? 1u << (c->prec - 1) : 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t v = (uint32_t)c->data[i] & mask;
        to[i] = (uint16_t)((v ^ sign) - sign);
    }
}

enum kf_status kf_dicom_decode_j2k(const unsigned char *bytes, size_t length, int columns, int rows, int is_signed,
                                   uint16_t *to, struct kf_error *err)
{
    static const unsigned char jp2[] = {0, 0, 0, 0x0C, 'j', 'P', ' ', ' '};
    struct memory_stream memory = {.bytes = bytes, .length = length};
    enum kf_status status = kf_error_set(NULL, KF_NOMEM, NULL, "-");
    opj_dparameters_t parameters;
    opj_image_t *image = NULL;
    int is_file = length >= sizeof jp2 && memcmp(bytes, jp2, sizeof jp2) == 0;
    opj_codec_t *codec = opj_create_decompress(is_file ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K);
    opj_stream_t *stream = opj_stream_create(length < 65536 ? (length ? length : 1) : 65536, OPJ_TRUE);
    if (!codec || !stream) {
        kf_error_set(err, KF_NOMEM, NULL, "no memory for a JPEG 2000 frame");
        goto done;
    }
    opj_stream_set_read_function(stream, stream_read);
    opj_stream_set_skip_function(stream, stream_skip);
    opj_stream_set_seek_function(stream, stream_seek);
    opj_stream_set_user_data(stream, &memory, NULL);
    opj_stream_set_user_data_length(stream, length);
    opj_set_default_decoder_parameters(&parameters);
    status = kf_error_set(err, KF_INVALID, "bad_pixels", "the JPEG 2000 frame is damaged");
    if (!opj_setup_decoder(codec, &parameters) || !opj_read_header(stream, codec, &image))
        goto done;
    struct kf_error why = {0};
    if (check_header(image, columns, rows, &why) != KF_OK) {
        if (err)
            *err = why;
        goto done;
    }
    if (!opj_decode(codec, stream, image) || !opj_end_decompress(codec, stream) || !image->comps[0].data ||
        check_header(image, columns, rows, NULL) != KF_OK)
        goto done;
    copy_values(&image->comps[0], is_signed, to);
    status = KF_OK;
done:
    if (image)
        opj_image_destroy(image);
    if (stream)
        opj_stream_destroy(stream);
    if (codec)
        opj_destroy_codec(codec);
    return status;
}
